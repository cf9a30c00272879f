// Usage by tenant, adapter and minute. The end of an answer waits until its usage is in the database, where many
// answers share one write. A database that takes no write holds up no answer: its usage is written later.

import type { Clock, Timers } from '../core/clock.ts';
import { onBehalfOf, server } from '../core/on-behalf.ts';
import type { UsageRow } from '../storage/tables.ts';
import type { UsagePage, UsageTable } from '../storage/usage-table.ts';
import { minuteMs } from './buckets.ts';

export type Used = {
  readonly tenant: string;
  /** Digests of the applied adapters, joined by `+`; empty: the base model. */
  readonly adapter: string;
  readonly requests: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Tokens that training jobs read, repeated steps included. */
  readonly trainedTokens: number;
};

/** No usage, of the base model. */
export const noUse: Omit<Used, 'tenant'> = {
  adapter: '',
  requests: 0,
  promptTokens: 0,
  cachedTokens: 0,
  completionTokens: 0,
  trainedTokens: 0,
};

export type Usage = {
  /** Resolves when the usage is on disk, or when writing it has failed for now. */
  record(used: Used): Promise<void>;
  /** Stored usage by minute, adapter and tenant; `tenant` null: of all tenants. */
  list(tenant: string | null, page: UsagePage): Promise<UsageRow[]>;
  /** Tokens trained since a time in milliseconds of the epoch. */
  trainedSince(tenant: string, since: number): Promise<number>;
  /** Writes the rest. */
  close(): Promise<void>;
};

export type UsageOptions = {
  readonly table: UsageTable;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { error(fields: object, message: string): void };
};

/** Milliseconds between two writes: at most 50 a second, each with a flush of the disk. */
const gapMs = 20;
/** Milliseconds after a failed write. */
const retryMs = 1000;
/** Milliseconds that an answer waits for a silent database. */
const waitMsMax = 1000;

export function usageOf({ table, clock, timers, log }: UsageOptions): Usage {
  let pending = new Map<string, UsageRow>();
  let written: PromiseWithResolvers<void> | null = null;
  let writing: Promise<void> = Promise.resolve();
  let isBroken = false;
  let lastAt = Number.NEGATIVE_INFINITY;

  const write = async (): Promise<void> => {
    const batch = pending;
    const waiters = written;
    pending = new Map();
    written = null;
    const breaks = (error: unknown) => {
      if (!isBroken) log.error({ err: error }, 'usage could not be written; it is kept and tried again');
      isBroken = true;
      waiters?.resolve();
      // Answers that came during this write: their usage is written with the next.
      written?.resolve();
      written = null;
    };
    const cancel = timers.after(waitMsMax, () => breaks(new Error('The database says nothing.')));
    try {
      if (batch.size > 0) await onBehalfOf(server, () => table.add([...batch.values()]));
      isBroken = false;
    } catch (error) {
      breaks(error);
      for (const row of batch.values()) merge(row);
      timers.after(retryMs, () => void next());
    } finally {
      cancel();
      lastAt = clock.monotonic();
      waiters?.resolve();
    }
    // Usage that came after a failure has no waiting answer to start the next write.
    if (!isBroken && written === null && pending.size > 0) timers.after(gapMs, () => void next());
  };
  const next = () => {
    writing = writing.then(write);
    return writing;
  };
  const merge = (row: UsageRow) => {
    const key = `${row.tenant} ${row.minute} ${row.adapter}`;
    const known = pending.get(key);
    pending.set(key, known === undefined ? row : sumOf(known, row));
  };

  return {
    async record(used) {
      merge(rowOf(used, Math.floor(clock.now() / minuteMs)));
      if (isBroken) return;
      if (written === null) {
        written = Promise.withResolvers();
        const wait = lastAt + gapMs - clock.monotonic();
        if (wait > 0) timers.after(wait, () => void next());
        else void next();
      }
      await written.promise;
    },
    list: (tenant, page) => table.list(tenant, page),
    async trainedSince(tenant, since) {
      return await table.trainedSince(tenant, Math.floor(since / minuteMs));
    },
    async close() {
      await next();
    },
  };
}

const rowOf = ({ tenant, adapter, ...used }: Used, minute: number): UsageRow => ({
  ...{ tenant, adapter, minute, requests: used.requests },
  prompt_tokens: used.promptTokens,
  cached_tokens: used.cachedTokens,
  completion_tokens: used.completionTokens,
  trained_tokens: used.trainedTokens,
});

const sumOf = (a: UsageRow, b: UsageRow): UsageRow => ({
  ...a,
  requests: a.requests + b.requests,
  prompt_tokens: a.prompt_tokens + b.prompt_tokens,
  cached_tokens: a.cached_tokens + b.cached_tokens,
  completion_tokens: a.completion_tokens + b.completion_tokens,
  trained_tokens: a.trained_tokens + b.trained_tokens,
});
