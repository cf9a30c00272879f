// Removes objects of a shared store that no row names: an upload was interrupted between store and database, or a job's
// work outlived the job. They are left for as long as a folder's quarantine keeps contents, and removed after that.
// Where they are very many, the database is an old one or another store's, and they are the contents of the right one:
// then nothing is removed, and an operator has to look.

import type { Clock, Timers } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import { adapterTable } from './adapter-table.ts';
import { acrossServers, contentKey, type Database } from './database.ts';
import { fileTable } from './file-table.ts';
import { jobTable } from './job-table.ts';
import type { ObjectStore } from './object-store.ts';

export type SweepOptions = {
  readonly database: Database;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  readonly keptMs: number;
  /** States of jobs whose work is no longer needed. */
  readonly finishedStates: readonly string[];
};

export type Swept = { readonly found: number; readonly removed: number };

const everyMs = 6 * 60 * 60 * 1000;
const pageSize = 500;
/** Limits of a sweep: more orphans than both this number and this share of all objects do not come from crashes. */
const fewMost = 20;
const shareMost = 0.01;

/** Objects of one content or job, with the time of the youngest, and how to find out whether a row names them. */
type Thing = { readonly id: string; readonly keys: string[]; youngest: number };
type Kind = { readonly lock: string; isKnown(rows: Database): Promise<boolean> };

/** Sweeps every six hours. `last` is the last result, with all removals since the start; null before the first. */
export function sweepStoreAgain(options: SweepOptions): { readonly last: Swept | null; stop(): void } {
  const state = { last: null as Swept | null, stop: () => {} };
  let removed = 0;
  state.stop = repeatedly(options.timers, everyMs, async () => {
    try {
      const swept = await sweepStore(options);
      removed += swept.removed;
      state.last = { found: swept.found, removed };
    } catch (error) {
      options.log.warn({ err: error }, 'the store could not be looked through for what no row has');
    }
  });
  return state;
}

export async function sweepStore(options: SweepOptions): Promise<Swept> {
  const { database, store, clock, log, keptMs } = options;
  const before = clock.now() - keptMs;
  let all = 0;
  const orphans: Thing[] = [];
  for await (const thing of things(store)) {
    const kind = kindOf(thing.id, options);
    if (kind === null) continue;
    all++;
    if (thing.youngest < before && !(await kind.isKnown(database))) orphans.push(thing);
  }
  const found = { count: orphans.length, of: all, some: orphans.slice(0, 20).map(({ id }) => id) };
  if (orphans.length > Math.max(fewMost, shareMost * all)) {
    log.warn(found, 'the store has many contents that no row has: is this its database? Nothing was removed');
    return { found: orphans.length, removed: 0 };
  }
  let removed = 0;
  for (const { id, keys } of orphans) {
    const { lock, isKnown } = kindOf(id, options)!;
    // An upload of the same content at this moment checks the store again once its row is there.
    await acrossServers(database, lock, async (rows) => {
      if (await isKnown(rows)) return;
      for (const key of keys) await store.remove(key);
      removed++;
    });
  }
  if (removed > 0) log.info({ ...found, removed }, 'contents that no row has were removed from the store');
  return { found: orphans.length, removed };
}

/** Groups the store's objects by what they belong to; keys in order make each group contiguous. */
async function* things(store: ObjectStore): AsyncGenerator<Thing> {
  let thing: Thing | null = null;
  for (let last: string | null = null; ; ) {
    const page = await store.listAged('', last, pageSize);
    for (const { key, putAt } of page) {
      const id = idOf(key);
      if (thing !== null && thing.id !== id) {
        yield thing;
        thing = null;
      }
      thing ??= { id, keys: [], youngest: putAt };
      thing.keys.push(key);
      thing.youngest = Math.max(thing.youngest, putAt);
    }
    last = page.at(-1)?.key ?? null;
    if (page.length < pageSize) break;
  }
  if (thing !== null) yield thing;
}

/** The first two parts of a key: `adapters/<hex>`, `work/<job>`; a file's key has one part. */
const idOf = (key: string) => key.split('/', 2).join('/');

/** null where the object is not this project's. */
function kindOf(id: string, { finishedStates }: SweepOptions): Kind | null {
  const [, adapter] = /^adapters\/([0-9a-f]{64})$/.exec(id) ?? [];
  if (adapter !== undefined) {
    const digest = `sha256:${adapter}`;
    return { lock: contentKey(digest), isKnown: (rows) => adapterTable(rows).hasDigest(digest) };
  }
  if (/^[0-9a-f]{64}$/.test(id)) {
    const digest = `sha256:${id}`;
    return { lock: contentKey(digest), isKnown: (rows) => fileTable(rows).isUsed(digest) };
  }
  const [, job] = /^work\/([^/]+)$/.exec(id) ?? [];
  if (job === undefined) return null;
  const isLive = async (rows: Database) => {
    const row = await jobTable(rows).get(job);
    return row !== undefined && !finishedStates.includes(row.state);
  };
  return { lock: `work ${job}`, isKnown: isLive };
}
