// Makes, lists and cancels batches. batch-runner.ts answers their lines.

import { LorikeetError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { batchTable } from '../../storage/batch-table.ts';
import { exclusively } from '../../storage/database.ts';
import type { BatchRow } from '../../storage/tables.ts';
import { fileFor } from '../file-for.ts';
import { assertMayAdd } from '../live-limit.ts';
import { type BatchParts, timesWith } from './batch-parts.ts';
import { batchRunner } from './batch-runner.ts';
import {
  type Batch,
  type Batches,
  type BatchProblem,
  type BatchState,
  finishedBatchStates,
  liveBatchStates,
  type NewBatch,
} from './batches.ts';

export function openBatches(parts: BatchParts): Batches {
  const { batches, exclusive, newId } = parts;
  const runner = batchRunner(parts);
  parts.changes.listen({
    apply: ({ kind, name }) => (kind === 'batch' ? void runner.look(name).catch(() => {}) : undefined),
    forgetAll: runner.wake,
  });
  return {
    async create(tenant, asked) {
      const id = `batch_${newId()}`;
      await exclusive(() => insert(parts, tenant, id, asked));
      runner.wake();
      return batchOf(present(await batches.find(tenant, id), id));
    },
    list: async (tenant, page) => (await batches.list(tenant, page)).map(batchOf),
    find: async (tenant, id) => batchOf(present(await batches.find(tenant, id), id)),
    async cancel(tenant, id) {
      await exclusive(async () => cancel(parts, present(await batches.find(tenant, id), id)));
      await runner.look(id);
      return batchOf(present(await batches.find(tenant, id), id));
    },
    start: runner.start,
    close: runner.close,
  };
}

async function insert(parts: BatchParts, tenant: string, id: string, asked: NewBatch): Promise<void> {
  const { batches, trainingFiles, clock, options } = parts;
  const file = await fileFor(trainingFiles, tenant, asked.inputFile, {
    ...{ param: 'input_file_id', purpose: 'batch', rule: 'a batch reads one of purpose batch' },
  });
  const now = clock.now();
  const row = {
    ...{ id, tenant, created_by: asked.createdBy, state: 'validating', endpoint: asked.endpoint },
    ...{
      input_file: file.id,
      input_digest: file.digest,
      output_file: null,
      error_file: null,
      errors: null,
      owner: null,
    },
    metadata: asked.metadata === null ? null : JSON.stringify(asked.metadata),
    times: JSON.stringify({ validating: now }),
    expires_at: now + limits.batchWindowMs,
  };
  // Other servers insert into the same database, so the limit is checked in the transaction of the insert.
  await exclusively(options.database, 'live batches', async (transaction) => {
    const table = batchTable(transaction);
    assertMayAdd(await table.inStates(liveBatchStates), tenant, {
      what: 'batches',
      perTenant: limits.liveBatches,
      inAll: limits.liveBatchesInAll,
      code: 'batch_limit_exceeded',
    });
    await table.insert(row);
  });
  await batches.prune(tenant, finishedBatchStates, limits.finishedJobs);
}

const ending: readonly string[] = ['cancelling', 'cancelled'];

/** Marks the batch as cancelling. Throws `batch_state_conflict` where it is over. */
async function cancel({ batches, clock }: BatchParts, { id, state, times }: BatchRow): Promise<void> {
  if (ending.includes(state)) return;
  if (!liveBatchStates.includes(state as BatchState)) {
    throw new LorikeetError('batch_state_conflict', { message: `The batch is ${state}; it cannot be cancelled.` });
  }
  await batches.change(id, [state], { state: 'cancelling', times: timesWith(times, 'cancelling', clock.now()) });
}

function present(row: BatchRow | undefined, id: string): BatchRow {
  if (row !== undefined) return row;
  throw new LorikeetError('batch_not_found', { message: `The batch '${id.slice(0, 200)}' does not exist.` });
}

export function batchOf(row: BatchRow): Batch {
  const times = JSON.parse(row.times) as Batch['times'];
  const { id, tenant, endpoint, total, completed, failed } = row;
  return {
    ...{ id, tenant, endpoint, createdBy: row.created_by, inputFile: row.input_file, times },
    state: row.state as BatchState,
    createdAt: times.validating ?? 0,
    expiresAt: row.expires_at,
    metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as Record<string, string>),
    counts: { total, completed, failed },
    outputFile: row.output_file,
    errorFile: row.error_file,
    problems: row.errors === null ? [] : (JSON.parse(row.errors) as BatchProblem[]),
  };
}
