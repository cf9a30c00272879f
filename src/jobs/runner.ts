// Takes one job after another from the stored queue. One job trains at a time: two would share cores and memory, and
// both would end later. Jobs that a server left running when it died come first.

import { repeatedly } from '../core/repeatedly.ts';
import { sleeper } from '../core/sleeper.ts';
import type { JobRow } from '../storage/tables.ts';
import { recordOf } from './job-row.ts';
import type { JobOptions } from './options.ts';
import { type JobParts, workFolder } from './parts.ts';
import { nextJob } from './policies/next-job.ts';
import { isTurnOver } from './policies/turns.ts';
import { RunningJob } from './running-job.ts';

export type JobRunner = {
  /** Begins to take jobs. */
  start(): void;
  /** Looks into the queue soon. */
  wake(): void;
  /** Reads the job's row, which another server may have changed. */
  look(id: string): void;
  /** Pauses or cancels the process of this job, if it has one here. The row is changed already. */
  pause(id: string): void;
  cancel(id: string): void;
  /** Whether this job is the one that runs or is just stopping. */
  has(id: string): boolean;
  readonly restarts: number;
  readonly pid: number | null;
  close(graceMs: number): Promise<void>;
};

/** Milliseconds between two checks whether the running job's turn is over and another tenant waits. */
const turnPeriodMs = 5000;
/** Milliseconds after an error of the store. */
const retryMs = 5000;
/** Milliseconds between two checks whether another server died and left a job, or has taken the one that runs here. */
const lookMs = 5000;

export function jobRunner(parts: JobParts): JobRunner {
  const { options, changes } = parts;
  const { sleep, wake } = sleeper(options.timers);
  let current: RunningJob | null = null;
  let restarts = 0;
  let isClosed = false;
  let loop: Promise<void> = Promise.resolve();

  const runOne = async (row: JobRow): Promise<void> => {
    current = new RunningJob(parts, row);
    const stopTurns = watchTurn(parts, current, row.tenant);
    const stopLooking = changes.isShared
      ? repeatedly(options.timers, lookMs, () => lookAt(parts, current).catch(() => {}))
      : () => {};
    if (isClosed) current.pause();
    try {
      await current.run();
    } finally {
      stopTurns();
      stopLooking();
      restarts += current.restarts;
      current = null;
    }
    await clearUp(parts, row);
  };

  const run = async (): Promise<void> => {
    while (!isClosed) {
      try {
        const row = await takeNext(parts);
        if (row === null) await sleep(changes.isShared ? lookMs : null);
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
    look(id) {
      wake();
      if (current?.id === id && changes.isShared) void lookAt(parts, current).catch(() => {});
    },
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

/** Removes the folder of a job that is gone or was cancelled; it was in use until now. */
async function clearUp({ jobs, options, forget }: JobParts, { id, epoch }: JobRow): Promise<void> {
  const now = await jobs.get(id);
  if (now === undefined || now.state === 'cancelled') await forget(id);
  // Another server has taken the job and does not continue from this folder.
  else if (now.epoch !== epoch) await options.files.remove(workFolder({ options }, id)).catch(() => {});
}

/** Stops the job without another event where its row no longer says that it runs here. */
async function lookAt({ jobs }: JobParts, running: RunningJob | null): Promise<void> {
  if (running === null) return;
  const now = await jobs.get(running.id);
  if (now?.state === 'paused' && now.epoch === running.epoch) running.pause();
  else if (now?.state !== 'running' || now.epoch !== running.epoch) running.cancel();
}

/** Checks periodically whether the job's turn is over and another tenant waits. @returns a function that stops it */
function watchTurn({ jobs, clock, options }: JobParts, job: RunningJob, tenant: string): () => void {
  const { turnMs } = options.bounds;
  const began = clock.monotonic();
  const look = async () => {
    const waiting = (await jobs.inStates(['queued'])).filter((row) => isOurs(options, row)).map((row) => row.tenant);
    if (isTurnOver({ tenant, ranMs: clock.monotonic() - began, turnMs, waiting })) job.yieldTurn();
  };
  const complain = (error: unknown) => options.log.warn({ err: error }, 'the queue of training jobs could not be read');
  return repeatedly(options.timers, Math.min(turnMs, turnPeriodMs), () => look().catch(complain));
}

/** Whether the job is for this base model: a result for another one would be registered for the wrong model. */
const isOurs = ({ base }: JobOptions, row: JobRow) => recordOf(row).spec.baseDigest === base.files.digest;

/** Takes the next job; null where none waits. */
async function takeNext(parts: JobParts): Promise<JobRow | null> {
  const { jobs, clock, exclusive, options, changes } = parts;
  const isOurJob = (row: JobRow) => isOurs(options, row);
  // `take` changes the row only as it was read, so that no other server can take the job too.
  const take = (row: JobRow) => jobs.take(row, changes.id, clock.now());
  const living = await changes.living();
  const left = (await jobs.inStates(['running'])).filter(isOurJob);
  const lost = left.find(({ owner }) => isLost(owner, living, changes.id));
  if (lost !== undefined) return (await exclusive(() => take(lost))) ?? (await takeNext(parts));
  const queued = (await jobs.inStates(['queued'])).filter(isOurJob);
  const rows = queued.map((row) => ({ ...row, queuedAt: row.queued_at }));
  const chosen = nextJob(rows, await jobs.lastStarts());
  if (chosen === null) return null;
  return (await exclusive(() => take(chosen))) ?? (await takeNext(parts));
}

/** Whether a job's work may be taken: its server is gone or is this one, which runs one job at a time. */
export const isLost = (owner: string | null, living: ReadonlySet<string>, own: string): boolean =>
  owner === null || owner === own || !living.has(owner);
