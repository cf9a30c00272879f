// Takes one job after another from the queue in the store. One trains at a time: two would share the cores and the
// memory, and both be later. What a server left running when it died comes first.

import { sleeper } from '../core/sleeper.ts';
import type { JobRow } from '../storage/tables.ts';
import { recordOf } from './job-row.ts';
import type { JobOptions } from './options.ts';
import type { JobParts } from './parts.ts';
import { nextJob } from './policies/next-job.ts';
import { isTurnOver } from './policies/turns.ts';
import { RunningJob } from './running-job.ts';

export type JobRunner = {
  /** Begins to look into the queue. */
  start(): void;
  /** Something may be in the queue. */
  wake(): void;
  /** Where this job has a process, tells it; the row says so already. */
  pause(id: string): void;
  cancel(id: string): void;
  /** Whether this job is the one that runs, or that just stops running. */
  has(id: string): boolean;
  readonly restarts: number;
  readonly pid: number | null;
  close(graceMs: number): Promise<void>;
};

/** How often it is looked at whether somebody waits for a job whose turn is over. */
const turnPeriodMs = 5000;
/** After a failure of the store itself. */
const retryMs = 5000;

export function jobRunner(parts: JobParts): JobRunner {
  const { jobs, options } = parts;
  const { sleep, wake } = sleeper(options.timers);
  let current: RunningJob | null = null;
  let restarts = 0;
  let isClosed = false;
  let loop: Promise<void> = Promise.resolve();

  const runOne = async (row: JobRow): Promise<void> => {
    current = new RunningJob(parts, row);
    const stopTurns = watchTurn(parts, current, row.tenant);
    if (isClosed) current.pause();
    try {
      await current.run();
    } finally {
      stopTurns();
      restarts += current.restarts;
      current = null;
    }
    // Its folder was in use until now.
    const { state } = (await jobs.get(row.id)) ?? { state: 'cancelled' };
    if (state === 'cancelled') await parts.forget(row.id);
  };

  const run = async (): Promise<void> => {
    while (!isClosed) {
      try {
        const row = await takeNext(parts);
        if (row === null) await sleep(null);
        else await runOne(row);
      } catch (error) {
        if (isClosed) return;
        options.log.error({ err: error }, 'the queue of training jobs failed');
        await sleep(retryMs);
      }
    }
  };

  return {
    start() {
      loop = run();
    },
    wake,
    pause(id) {
      if (current?.id === id) current.pause();
    },
    cancel(id) {
      if (current?.id === id) current.cancel();
    },
    has: (id) => current?.id === id,
    get restarts() {
      return restarts + (current?.restarts ?? 0);
    },
    get pid() {
      return current?.pid ?? null;
    },
    async close(graceMs) {
      isClosed = true;
      current?.pause(graceMs);
      wake();
      await loop;
    },
  };
}

/** Looks, after each turn and then often, whether another tenant's job waits. @returns what ends it */
function watchTurn({ jobs, clock, options }: JobParts, job: RunningJob, tenant: string): () => void {
  const { turnMs } = options.bounds;
  const began = clock.monotonic();
  let cancel = () => {};
  const look = async () => {
    const waiting = (await jobs.inStates(['queued'])).filter((row) => isOurs(options, row)).map((row) => row.tenant);
    if (isTurnOver({ tenant, ranMs: clock.monotonic() - began, turnMs, waiting })) job.yieldTurn();
  };
  const again = (ms: number) => {
    cancel = options.timers.after(ms, () => {
      look().catch((error) => options.log.warn({ err: error }, 'the queue of training jobs could not be read'));
      again(Math.min(turnMs, turnPeriodMs));
    });
  };
  again(turnMs);
  return () => cancel();
}

/** A job of another base model is no job here: what it trained would be registered for the wrong one. */
const isOurs = ({ base }: JobOptions, row: JobRow) => recordOf(row).spec.baseDigest === base.files.digest;

/** null where nothing waits. */
async function takeNext(parts: JobParts): Promise<JobRow | null> {
  const { jobs, clock, exclusive, options } = parts;
  const isOurJob = (row: JobRow) => isOurs(options, row);
  const left = (await jobs.inStates(['running'])).find(isOurJob);
  if (left !== undefined) return left;
  const queued = (await jobs.inStates(['queued'])).filter(isOurJob);
  const rows = queued.map((row) => ({ ...row, queuedAt: row.queued_at }));
  const chosen = nextJob(rows, await jobs.lastStarts());
  if (chosen === null) return null;
  // Whoever changes the row first has it: no other server can take it too.
  const started_at = clock.now();
  const isTaken = await exclusive(() => jobs.change(chosen.id, ['queued'], { state: 'running', started_at }));
  return isTaken ? chosen : await takeNext(parts);
}
