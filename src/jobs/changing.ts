// Creates, cancels, pauses and resumes jobs: changes the row first, then the process. A job whose trainer has reported
// its result can no longer be stopped: its adapter is being published.

import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { exclusively } from '../storage/database.ts';
import { type JobTable, jobTable } from '../storage/job-table.ts';
import type { JobRow } from '../storage/tables.ts';
import { noProgress, outcomeOf, present, recordOf } from './job-row.ts';
import { assertMayAdd } from './live-limit.ts';
import { prepareJob } from './new-job.ts';
import type { JobParts } from './parts.ts';
import type { JobRunner } from './runner.ts';
import { tokenQuota } from './token-quota.ts';
import type { TrainingFiles } from './training-files.ts';
import { finishedStates, type JobState, liveStates, type NewJob, type TrainingJobs } from './training-jobs.ts';

export type JobChanging = Pick<TrainingJobs, 'create' | 'cancel' | 'pause' | 'resume'>;

type Step = {
  readonly verb: string;
  readonly to: JobState;
  /** States in which the step is allowed. */
  readonly from: readonly JobState[];
  /** States in which the step has nothing to do. */
  readonly already: readonly JobState[];
  readonly message: string;
};

const steps = {
  cancel: {
    verb: 'cancelled',
    to: 'cancelled',
    from: liveStates,
    already: ['cancelled'],
    message: 'The job was cancelled',
  },
  pause: {
    verb: 'paused',
    to: 'paused',
    from: ['validating_files', 'queued', 'running'],
    already: ['paused'],
    message: 'The job was paused',
  },
  resume: {
    verb: 'resumed',
    to: 'validating_files',
    from: ['paused'],
    already: ['validating_files', 'queued', 'running'],
    message: 'The job was resumed',
  },
} as const satisfies Record<string, Step>;

export function jobChanging(parts: JobParts, files: TrainingFiles, runner: JobRunner): JobChanging {
  const { jobs, newId, exclusive, events } = parts;

  const inOrder = (tenant: string, id: string, step: Step) => exclusive(() => change(parts, tenant, id, step));

  return {
    async create(tenant, asked) {
      const id = `ftjob-${newId()}`;
      const row = await exclusive(async () => {
        await assertRoom(parts, jobs, tenant, asked.createdBy);
        await tokenQuota(parts, { tenant, keyPrefix: asked.createdBy }).assertRoom(1);
        try {
          await insert(parts, files, { tenant, id }, asked);
        } catch (error) {
          await parts.forget(id);
          throw error;
        }
        return present(await jobs.find(tenant, id), id);
      });
      await events.say(id, `Created fine-tuning job: ${id}`);
      void parts.validate(id);
      return recordOf(row);
    },
    async cancel(tenant, id) {
      const row = await inOrder(tenant, id, steps.cancel);
      runner.cancel(id);
      if (!runner.has(id)) await parts.forget(id);
      return recordOf(row);
    },
    async pause(tenant, id) {
      const row = await inOrder(tenant, id, steps.pause);
      runner.pause(id);
      return recordOf(row);
    },
    async resume(tenant, id) {
      const row = await inOrder(tenant, id, steps.resume);
      void parts.validate(id);
      return recordOf(row);
    },
  };
}

type Owned = { readonly tenant: string; readonly id: string };

async function insert(parts: JobParts, files: TrainingFiles, owned: Owned, asked: NewJob): Promise<void> {
  const { jobs, clock } = parts;
  const { tenant, id } = owned;
  const { spec, training, validation } = await prepareJob(parts, files, owned, asked);
  const now = clock.now();
  const spans = { created_at: now, queued_at: now, started_at: null, finished_at: null };
  const rest = { outcome: null, adapter: null, error: null, progress: JSON.stringify(noProgress) };
  const names = { training_file: training.id, validation_file: validation?.id ?? null };
  const row = {
    ...{ id, tenant, state: 'validating_files', owner: parts.changes.id, spec: JSON.stringify(spec) },
    ...{ ...spans, ...names, ...rest },
  };
  // Another server may have made a job since the check above, so it is repeated in the transaction of the insert.
  await exclusively(parts.options.database, 'live jobs', async (transaction) => {
    const table = jobTable(transaction);
    await assertRoom(parts, table, tenant, asked.createdBy);
    await table.insert(row);
  });
  await jobs.prune(tenant, finishedStates, limits.finishedJobs);
}

async function change({ jobs, events, clock }: JobParts, tenant: string, id: string, step: Step): Promise<JobRow> {
  const row = present(await jobs.find(tenant, id), id);
  const state = row.state as JobState;
  if (step.already.includes(state)) return row;
  if (!step.from.includes(state) || outcomeOf(row) !== null) throw conflict(row, step);
  // Written before the state changes, so that followers read it before they see the job's end.
  await events.say(id, step.message);
  const now = clock.now();
  const isOver = step.to === 'cancelled';
  const change = { state: step.to, ...(isOver ? { finished_at: now } : {}), ...(isOver ? {} : { queued_at: now }) };
  await jobs.change(id, [state], change);
  events.end(id);
  return present(await jobs.find(tenant, id), id);
}

async function assertRoom(
  { options }: JobParts,
  jobs: Pick<JobTable, 'inStates'>,
  tenant: string,
  keyPrefix: string | null,
): Promise<void> {
  const live = await jobs.inStates(liveStates);
  const tenants = live.filter((row) => row.tenant === tenant);
  const keys = tenants.filter((row) => recordOf(row).spec.createdBy === keyPrefix).length;
  options.assertQuota?.({ tenant, keyPrefix }, 'jobs', { tenant: tenants.length + 1, key: keys + 1 });
  assertMayAdd(live, tenant, {
    what: 'training jobs',
    perTenant: limits.liveJobs,
    inAll: limits.liveJobsInAll,
    code: 'job_limit_exceeded',
  });
}

function conflict(row: JobRow, { verb }: Step): LorikeetError {
  const isEnding = row.outcome !== null && row.state === 'running';
  const why = isEnding ? 'has been trained and its adapter is on its way' : `is ${row.state}`;
  return new LorikeetError('job_state_conflict', { message: `The job ${why}; it cannot be ${verb}.` });
}
