// What tenants and keys may still use: counted by this server alone, or by all that share a database.

import type { Clock, Timers } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { RateTable } from '../storage/rate-table.ts';
import { Buckets } from './buckets.ts';

export type Allowance = {
  readonly id: string;
  /** Size of the bucket, or the number of places. */
  readonly most: number;
  /** What flows back into the bucket in a minute; null: a number of places, which are given back. */
  readonly perMinute: number | null;
};

export type Allowances = {
  /**
   * Makes the level known that `needed` takes. null: this server already knows enough to allow or refuse. Else it
   * resolves within a second, after asking the database; another caller may take the allowance first. Never rejects.
   */
  ready(allowance: Allowance, needed: number): Promise<void> | null;
  /** What may be taken now. */
  level(allowance: Allowance): number;
  /** What is left for all servers together, as far as this server knows. */
  left(allowance: Allowance): number;
  /** Takes an amount. More than the level becomes a debt; a negative amount is given back. */
  take(allowance: Allowance, amount: number): void;
  /** Milliseconds until `level` is left. */
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

/**
 * Allowances of a server alone, which knows every level. Levels are written once a second; no request waits for that.
 */
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
