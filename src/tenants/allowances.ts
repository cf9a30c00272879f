// What tenants and keys may still use, as whoever counts asks for it: of this server alone, or of all that share a
// database.

import type { Clock, Timers } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { RateTable } from '../storage/rate-table.ts';
import { Buckets } from './buckets.ts';

export type Allowance = {
  readonly id: string;
  /** What it is when nothing is used. */
  readonly most: number;
  /** What is used comes back steadily, a minute's worth at most; null: it is given back, as places are. */
  readonly perMinute: number | null;
};

export type Allowances = {
  /**
   * null: what this server knows is enough to say yes or no. Else it resolves, within a second, when it has asked;
   * somebody else may have taken it meanwhile. Never rejects.
   */
  ready(allowance: Allowance, needed: number): Promise<void> | null;
  /** What may be taken now. */
  level(allowance: Allowance): number;
  /** What is left for everybody, as far as it is known here. */
  left(allowance: Allowance): number;
  /** More than there is becomes a debt. Below 0: it is given back. */
  take(allowance: Allowance, amount: number): void;
  /** Milliseconds until so much is left. */
  msUntil(allowance: Allowance, level: number): number;
  close(): Promise<void>;
};

export type AllowancesOptions = {
  readonly table: RateTable;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void };
};

const flushMs = 1000;

/** Everything is known here; levels are written once a second, never while a request waits. */
export async function ownAllowances({ table, clock, timers, log }: AllowancesOptions): Promise<Allowances> {
  const buckets = new Buckets(await table.all(), clock);
  const places = new Map<string, number>();
  const flush = async () => {
    const changed = buckets.takeChanged();
    if (changed.length === 0) return;
    await table.save(changed).catch((error) => {
      buckets.giveBack(changed);
      log.warn({ err: error }, 'levels of rate limits could not be written; they are tried again');
    });
  };
  const stop = repeatedly(timers, flushMs, flush);
  const level = ({ id, most, perMinute }: Allowance) =>
    perMinute === null ? most - (places.get(id) ?? 0) : buckets.level({ id, perMinute });
  return {
    ready: () => null,
    level,
    left: level,
    take({ id, perMinute }, amount) {
      if (perMinute !== null) return buckets.take({ id, perMinute }, amount);
      const taken = (places.get(id) ?? 0) + amount;
      if (taken > 0) places.set(id, taken);
      else places.delete(id);
    },
    msUntil: ({ id, perMinute }, wanted) => (perMinute === null ? 0 : buckets.msUntil({ id, perMinute }, wanted)),
    async close() {
      stop();
      await flush();
    },
  };
}
