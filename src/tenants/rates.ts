// Requests and tokens a minute: a bucket for each ceiling, which fills steadily and holds a minute's worth. Tokens are
// taken as they are read and generated, so that a bucket may be in debt; who is in debt waits until it is paid. Levels
// are kept in the database, written in batches and never while a request waits.

import type { Clock, Timers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { RateTable } from '../storage/rate-table.ts';
import { type Bucket, Buckets } from './buckets.ts';
import type { Caller, Ceilings } from './ceilings.ts';

export type Unit = 'requests' | 'tokens';

/** One ceiling as a caller is told of it. */
export type RateState = {
  readonly unit: Unit;
  /** A minute. */
  readonly limit: number;
  readonly remaining: number;
  /** Milliseconds until the bucket is full. */
  readonly resetMs: number;
};

export type Rates = {
  /** Takes a request. Throws `rate_limit_exceeded`; then nothing is taken. */
  request(caller: Caller): void;
  /**
   * Throws `rate_limit_exceeded` where a prompt of so many tokens is more than is left; one that fills a bucket passes.
   */
  assertTokens(caller: Caller, tokens: number): void;
  /** @returns what takes tokens that were read or generated */
  takerOf(caller: Caller): (tokens: number) => void;
  /** The tightest ceiling of each unit. */
  states(caller: Caller): RateState[];
  /** Writes what has changed. */
  close(): Promise<void>;
};

type UnitBucket = Bucket & { readonly unit: Unit };

const flushMs = 1000;

export type RatesOptions = {
  readonly table: RateTable;
  readonly ceilings: Ceilings;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void };
};

export async function openRates({ table, ceilings, clock, timers, log }: RatesOptions): Promise<Rates> {
  const buckets = new Buckets(await table.all(), clock);

  const refuse = (bucket: UnitBucket, needed: number) => {
    const retryAfterSeconds = Math.max(1, Math.ceil(buckets.msUntil(bucket, needed) / 1000));
    const message = `Your limit is ${bucket.perMinute} ${bucket.unit} a minute. Try again in ${retryAfterSeconds} s.`;
    return new LorikeetError('rate_limit_exceeded', { message, retryAfterSeconds });
  };
  const flush = async () => {
    const changed = buckets.takeChanged();
    if (changed.length === 0) return;
    await table.save(changed).catch((error) => {
      buckets.giveBack(changed);
      log.warn({ err: error }, 'levels of rate limits could not be written; they are tried again');
    });
  };
  const stop = repeatedly(timers, flushMs, flush);

  return {
    request(caller) {
      const own = bucketsOf(ceilings, caller);
      for (const bucket of own) {
        const needed = bucket.unit === 'requests' ? 1 : Math.min(1, bucket.perMinute);
        if (buckets.level(bucket) < needed) throw refuse(bucket, needed);
      }
      for (const bucket of own) if (bucket.unit === 'requests') buckets.take(bucket, 1);
    },
    assertTokens(caller, tokens) {
      for (const bucket of bucketsOf(ceilings, caller)) {
        const needed = Math.min(tokens, bucket.perMinute);
        if (bucket.unit === 'tokens' && buckets.level(bucket) < needed) throw refuse(bucket, needed);
      }
    },
    takerOf(caller) {
      const own = bucketsOf(ceilings, caller).filter(({ unit }) => unit === 'tokens');
      return (tokens) => {
        for (const bucket of own) buckets.take(bucket, tokens);
      };
    },
    states(caller) {
      const tightest = new Map<Unit, RateState>();
      for (const bucket of bucketsOf(ceilings, caller)) {
        const { unit, perMinute: limit } = bucket;
        const remaining = Math.max(0, Math.floor(buckets.level(bucket)));
        const known = tightest.get(unit);
        if (known !== undefined && known.remaining <= remaining) continue;
        tightest.set(unit, { unit, limit, remaining, resetMs: buckets.msUntil(bucket, limit) });
      }
      return [...tightest.values()];
    },
    async close() {
      stop();
      await flush();
    },
  };
}

function bucketsOf(ceilings: Ceilings, caller: Caller): UnitBucket[] {
  const [tenant, key] = [ceilings.tenantOf(caller), ceilings.keyOf(caller)];
  const found: UnitBucket[] = [];
  const add = (owner: string, unit: Unit, perMinute: number | undefined) => {
    if (perMinute !== undefined) found.push({ id: `${owner} ${unit}`, unit, perMinute });
  };
  add(`tenant ${caller.tenant}`, 'requests', tenant.requests_per_minute);
  add(`tenant ${caller.tenant}`, 'tokens', tenant.tokens_per_minute);
  add(`key ${caller.keyPrefix}`, 'requests', key.requests_per_minute);
  add(`key ${caller.keyPrefix}`, 'tokens', key.tokens_per_minute);
  return found;
}
