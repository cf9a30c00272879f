// Events of jobs. They are written in small groups, since a commit costs more than a step's event, thinned when they
// become many, and told to followers. Knows rows and listeners, not what is trained.

import type { Clock, Timers } from '../core/clock.ts';
import { limits } from '../core/limits.ts';
import type { JobEventTable, NewJobEvent } from '../storage/job-event-table.ts';
import type { JobEventRow } from '../storage/tables.ts';
import { idPart } from './job-row.ts';
import { listeners } from './listeners.ts';
import type { JobLog } from './options.ts';
import { thinMetrics } from './policies/thin-metrics.ts';
import type { JobEvent, JobProgress } from './training-jobs.ts';

export type JobEvents = ReturnType<typeof jobEvents>;

/** A job and the epoch of its runner. */
export type RunBy = { readonly id: string; readonly epoch: number };

type Metrics = Readonly<Record<string, number>>;
/** Events of a job that are not written yet. `epoch` is the runner's; null: not checked. */
type Waiting = { readonly events: NewJobEvent[]; progress: JobProgress | null; readonly epoch: number | null };
type Options = { readonly clock: Clock; readonly timers: Timers; readonly log: JobLog; readonly table: JobEventTable };

/** Milliseconds between two writes. A small model takes many steps a second; nobody reads events faster than this. */
const flushMs = 250;

export function jobEvents({ clock, timers, log, table }: Options) {
  const waiting = new Map<string, Waiting>();
  const told = listeners();
  /** Number of metrics in the table, for jobs that wrote some since the start. */
  const counts = new Map<string, number>();
  let last: Promise<unknown> = Promise.resolve();
  let cancelFlush: (() => void) | null = null;

  const write = async (job: string, { events, progress, epoch }: Waiting): Promise<void> => {
    await table.append(job, events, progress === null ? null : JSON.stringify(progress), epoch);
    counts.set(job, await thinned(table, job, counts.get(job), events));
    told.tell(job);
  };

  /** Writes all waiting events in order. A failed write rejects for the caller and does not hold up the next one. */
  const flush = (): Promise<void> => {
    cancelFlush?.();
    cancelFlush = null;
    const groups = [...waiting];
    waiting.clear();
    const written = last.then(async () => {
      for (const [, group] of groups) await write(group.events[0]!.job, group);
    });
    last = written.catch(() => {});
    return written;
  };

  const add = (event: NewJobEvent, progress: JobProgress | null, epoch: number | null): void => {
    const id = `${event.job} ${epoch}`;
    const group = waiting.get(id) ?? { events: [], progress: null, epoch };
    waiting.set(id, group);
    group.events.push(event);
    group.progress = progress ?? group.progress;
    cancelFlush ??= timers.after(flushMs, () => {
      flush().catch((error) => log.error({ err: error }, 'events of training jobs could not be written'));
    });
  };

  return {
    flush,
    /** Adds a message; it is on disk when this resolves. @param by the runner, where the runner says it */
    async say(job: string, message: string, level: JobEvent['level'] = 'info', by?: RunBy): Promise<void> {
      add({ job, created_at: clock.now(), level, message, step: null, data: null }, null, by?.epoch ?? null);
      await flush();
    },
    /** Adds the figures of a step; they are written soon. */
    metrics({ id: job, epoch }: RunBy, message: string, data: Metrics, progress: JobProgress): void {
      const event = { job, created_at: clock.now(), level: 'info', message, data: JSON.stringify(data) };
      add({ ...event, step: progress.step }, progress, epoch);
    },
    /** Deletes events of steps after `step`, which will be taken again. */
    rewind({ id: job, epoch }: RunBy, step: number): Promise<void> {
      counts.delete(job);
      const rewound = flush().then(() => table.rewind(job, step, epoch));
      // Set now, so that later events are written after the deletion.
      last = rewound.catch(() => {});
      return rewound;
    },
    /** Forgets the counts of a job that is over, and tells its followers. */
    end(job: string): void {
      counts.delete(job);
      told.tell(job);
    },
    /** Tells followers of the job that there is something new, from here or from another server. */
    tell: told.tell,
    /** Calls the listener at every new event of a job. @returns a function that ends it */
    onChange: told.add,
  };
}

/** @param before metrics before these events; undefined: not counted yet @returns the number of metrics now */
async function thinned(
  table: JobEventTable,
  job: string,
  before: number | undefined,
  events: readonly NewJobEvent[],
): Promise<number> {
  const metrics = events.filter(({ step }) => step !== null).length;
  const count = before === undefined ? (await table.metrics(job)).length : before + metrics;
  return count > 2 * limits.jobMetrics ? await thin(table, job) : count;
}

/** Deletes metrics beyond the limit. @returns how many are left. */
async function thin(table: JobEventTable, job: string): Promise<number> {
  const rows = (await table.metrics(job)).map((row) => ({ ...row, step: row.step!, isValidated: isValidated(row) }));
  const kept = new Set(thinMetrics(rows, limits.jobMetrics).map(({ seq }) => seq));
  await table.remove(
    job,
    rows.flatMap(({ seq }) => (kept.has(seq) ? [] : [seq])),
  );
  return kept.size;
}

const isValidated = ({ data }: JobEventRow): boolean => data?.includes('"valid_loss"') === true;

const idOf = ({ job, seq }: JobEventRow) => `ftevent-${idPart(job)}-${seq}`;

/** The number in an event's id; null where the text is no such id. */
export function seqOf(id: string): number | null {
  const [, seq] = /^ftevent-.*-([1-9][0-9]{0,14})$/.exec(id) ?? [];
  return seq === undefined ? null : Number(seq);
}

export function eventOf(row: JobEventRow): JobEvent {
  return {
    id: idOf(row),
    createdAt: row.created_at,
    level: row.level as JobEvent['level'],
    message: row.message,
    data: row.data === null ? null : (JSON.parse(row.data) as Record<string, number>),
  };
}
