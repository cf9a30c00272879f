// Answers the lines of batches: one batch at a time for each tenant, oldest first. A line's answer is stored as soon as
// it is there, so that after a crash no output has two answers to one line.

import { limits } from '../../core/limits.ts';
import { onBehalfOf } from '../../core/on-behalf.ts';
import { repeatedly } from '../../core/repeatedly.ts';
import { waitingPlaces } from '../../core/waiting-places.ts';
import type { BatchRow } from '../../storage/tables.ts';
import { isLost } from '../runner.ts';
import { answerLines, type LineWork } from './answer-lines.ts';
import { checkLines } from './batch-lines.ts';
import { type BatchParts, timesWith } from './batch-parts.ts';
import { type AnswerLine, liveBatchStates } from './batches.ts';
import { finishBatch } from './finish-batch.ts';

export type BatchRunner = {
  start(answer: AnswerLine): void;
  /** Looks for work soon. */
  wake(): void;
  /** Reads the batch's row, which has changed here or on another server; stops answering one that is cancelled. */
  look(id: string): Promise<void>;
  close(): Promise<void>;
};

/** Milliseconds between two looks for expired batches and for batches that failed and are tried again. */
const lookMs = 10_000;

type Running = { readonly tenant: string; readonly stop: AbortController; readonly done: Promise<void> };

export function batchRunner(parts: BatchParts): BatchRunner {
  const { batches, options, clock, changes } = parts;
  const running = new Map<string, Running>();
  const places = waitingPlaces(options.batchPlaces ?? (() => 1));
  let answer: AnswerLine | null = null;
  let isClosed = false;
  let stopLooking = () => {};
  let looking: Promise<void> = Promise.resolve();

  const begin = (row: BatchRow): void => {
    const stop = new AbortController();
    const run = { stop, places, answer: answer!, isClosed: () => isClosed };
    const done = onBehalfOf(row.tenant, () => runBatch(parts, row, run)).then(
      () => {
        running.delete(row.id);
        wake();
      },
      (error) => {
        stop.abort();
        // The batch is tried again at the next look.
        running.delete(row.id);
        if (!isClosed) options.log.error({ err: error, batch: row.id }, 'a batch stopped; it is tried again');
      },
    );
    running.set(row.id, { tenant: row.tenant, stop, done });
  };
  const look = async (): Promise<void> => {
    if (isClosed || answer === null) return;
    places.look();
    const { ours, busy } = await liveBatches(parts, running.values());
    for (const row of ours) {
      if (isClosed) return;
      if (running.has(row.id)) continue;
      // Only batches with lines to answer take turns: validating and finishing wait for no other batch.
      const waits = row.state === 'in_progress' && row.expires_at > clock.now();
      if (waits && busy.has(row.tenant)) continue;
      if (!(await batches.take(row, changes.id))) continue;
      if (waits) busy.add(row.tenant);
      begin(row);
    }
  };
  const wake = () => {
    looking = looking.then(look).catch((error) => {
      if (!isClosed) options.log.error({ err: error }, 'batches could not be looked for; it is tried again');
    });
  };
  return {
    wake,
    start(given) {
      answer = given;
      wake();
      stopLooking = repeatedly(options.timers, lookMs, wake);
    },
    async look(id) {
      if (running.has(id) && (await batches.get(id))?.state === 'cancelling') running.get(id)?.stop.abort();
      wake();
    },
    async close() {
      isClosed = true;
      stopLooking();
      await looking;
      for (const { stop } of running.values()) stop.abort();
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };
}

/** Live batches that no other server works on, and the tenants that have a batch under way. */
async function liveBatches({ batches, changes }: BatchParts, running: Iterable<Running>) {
  const living = await changes.living();
  const rows = await batches.inStates(liveBatchStates);
  const { ours = [], theirs = [] } = Object.groupBy(rows, ({ owner }) =>
    isLost(owner, living, changes.id) ? 'ours' : 'theirs',
  );
  const answered = theirs.filter(({ state }) => state === 'in_progress');
  return { ours, busy: new Set([...running, ...answered].map(({ tenant }) => tenant)) };
}

type Run = Omit<LineWork, 'signal'> & { readonly stop: AbortController; isClosed(): boolean };

/** Brings the batch into its next state: validated, all lines answered, or over. */
async function runBatch(parts: BatchParts, row: BatchRow, { stop, isClosed, ...work }: Run): Promise<void> {
  const { batches, options, clock } = parts;
  // Only validates: the lines wait for a later look, which keeps to one batch for each tenant.
  if (row.state === 'validating') return await validate(parts, row);
  let now: BatchRow | undefined = row;
  if (now.state === 'in_progress') {
    const cancelExpiry = options.timers.after(Math.max(0, now.expires_at - clock.now()), () => stop.abort());
    await answerLines(parts, now, { ...work, signal: stop.signal }).finally(cancelExpiry);
    if (isClosed()) return;
    now = await batches.get(now.id);
  }
  if (now !== undefined && !isClosed()) await finishBatch(parts, now);
}

async function validate(parts: BatchParts, row: BatchRow): Promise<void> {
  const { batches, folder, exclusive, clock } = parts;
  const { id, input_digest: digest, endpoint, times } = row;
  const { total, problems } = (await folder.isIntact(digest))
    ? await checkLines(folder.pathOf(digest), endpoint)
    : { total: 0, problems: [damaged] };
  const isBad = problems.length > 0;
  const state = isBad ? 'failed' : 'in_progress';
  const errors = isBad ? JSON.stringify(problems.slice(0, limits.trainingProblems)) : null;
  const change = { state, errors, total: isBad ? 0 : total, times: timesWith(times, state, clock.now()) } as const;
  await exclusive(() => batches.change(id, ['validating'], change));
}

const damaged = {
  ...{ code: 'file_corrupt', message: 'The file is damaged on this server. Upload it again.' },
  ...{ line: null, param: 'input_file_id' },
};
