// Reads jobs, events and checkpoints: in pages, or events as they come.

import { LorikeetError } from '../core/errors.ts';
import type { JobCheckpointRow } from '../storage/tables.ts';
import { eventOf, seqOf } from './events.ts';
import { idPart, present, recordOf } from './job-row.ts';
import type { JobParts } from './parts.ts';
import { finishedStates, type JobCheckpoint, type TrainingJobs } from './training-jobs.ts';

export type JobReading = Pick<TrainingJobs, 'list' | 'find' | 'events' | 'follow' | 'checkpoints'>;

/** Events that are read at once. */
const batch = 100;
const newest = Number.MAX_SAFE_INTEGER;
/** Milliseconds between two looks for events of a job on another server. */
const lookMs = 500;

export function jobReading(parts: JobParts): JobReading {
  const { jobs, eventTable, events } = parts;
  const find = async (tenant: string, id: string) => present(await jobs.find(tenant, id), id);
  return {
    list: async (tenant, page) => (await jobs.list(tenant, page)).map(recordOf),
    find: async (tenant, id) => recordOf(await find(tenant, id)),
    async events(tenant, id, { after, limit }) {
      await find(tenant, id);
      await events.flush();
      return (await eventTable.before(id, after === null ? newest : cursor(after), limit)).map(eventOf);
    },
    async follow(tenant, id, after, stop) {
      await find(tenant, id);
      return follow(parts, id, after === null ? 0 : cursor(after), AbortSignal.any([stop, parts.stop]));
    },
    async checkpoints(tenant, id, { after, limit }) {
      await find(tenant, id);
      const step = after === null ? newest : cursor(after, /^ftckpt-.*-(\d{1,15})$/);
      return (await eventTable.checkpoints(id, step, limit)).map(checkpointOf);
    },
  };
}

async function* follow(
  { jobs, eventTable, events, changes, options }: JobParts,
  id: string,
  after: number,
  stop: AbortSignal,
) {
  let wake = () => {};
  let isWoken = false;
  const onChange = () => {
    isWoken = true;
    wake();
  };
  const end = events.onChange(id, onChange);
  stop.addEventListener('abort', onChange, { once: true });
  try {
    for (let last = after; !stop.aborted; ) {
      isWoken = false;
      // The state is read before the events: all events of a job that is over are on disk by then.
      const { state } = (await jobs.get(id)) ?? { state: 'cancelled' };
      await events.flush();
      const rows = await eventTable.after(id, last, batch);
      for (const row of rows) yield eventOf(row);
      last = rows.at(-1)?.seq ?? last;
      if (rows.length > 0) continue;
      if ((finishedStates as readonly string[]).includes(state)) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (isWoken) resolve();
        // Nobody tells this server of steps that another server's trainer takes.
        else if (changes.isShared) options.timers.after(lookMs, resolve);
      });
    }
  } finally {
    end();
    stop.removeEventListener('abort', onChange);
  }
}

/** The number in an id that ends a page. Throws `invalid_parameter`. */
function cursor(after: string, pattern?: RegExp): number {
  const found = pattern === undefined ? seqOf(after) : (pattern.exec(after)?.[1] ?? null);
  if (found !== null) return Number(found);
  throw new LorikeetError('invalid_parameter', { message: `after is no id of this list.`, param: 'after' });
}

const checkpointOf = (row: JobCheckpointRow): JobCheckpoint => ({
  id: `ftckpt-${idPart(row.job)}-${row.step}`,
  createdAt: row.created_at,
  step: row.step,
  trainLoss: row.train_loss,
  validLoss: row.valid_loss,
  adapter: row.adapter,
});
