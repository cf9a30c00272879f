// Requests and tokens a minute: a bucket for each ceiling, which fills steadily and holds a minute's worth. Tokens are
// taken as they are read and generated, so that a bucket may be in debt; who is in debt waits until it is paid. Levels
// are kept in the database, written in batches and never while a request waits.

import type { Clock, Timers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import type { RateTable } from '../storage/rate-table.ts';
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
  /** Throws `rate_limit_exceeded` where a prompt of so many tokens is more than is left; one that fills a bucket passes. */
  assertTokens(caller: Caller, tokens: number): void;
  /** Takes tokens that were read or generated. */
  tokens(caller: Caller, tokens: number): void;
  /** The tightest ceiling of each unit. */
  states(caller: Caller): RateState[];
  /** Writes what has changed. */
  flush(): Promise<void>;
  close(): Promise<void>;
};

type Level = { level: number; at: number };
type Bucket = { readonly id: string; readonly unit: Unit; readonly perMinute: number };

const minuteMs = 60_000;
const flushMs = 1000;

export type RatesOptions = {
  readonly table: RateTable;
  readonly ceilings: Ceilings;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { warn(fields: object, message: string): void };
};

export async function openRates({ table, ceilings, clock, timers, log }: RatesOptions): Promise<Rates> {
  const levels = new Map<string, Level>();
  for (const { id, level, at } of await table.all()) levels.set(id, { level, at });
  const changed = new Set<string>();

  const bucketsOf = (caller: Caller): Bucket[] => {
    const found: Bucket[] = [];
    const add = (owner: string, unit: Unit, perMinute: number | undefined) => {
      if (perMinute !== undefined) found.push({ id: `${owner} ${unit}`, unit, perMinute });
    };
    const [tenant, key] = [ceilings.tenantOf(caller), ceilings.keyOf(caller)];
    add(`tenant ${caller.tenant}`, 'requests', tenant.requests_per_minute);
    add(`tenant ${caller.tenant}`, 'tokens', tenant.tokens_per_minute);
    add(`key ${caller.keyPrefix}`, 'requests', key.requests_per_minute);
    add(`key ${caller.keyPrefix}`, 'tokens', key.tokens_per_minute);
    return found;
  };
  /** As it is now. A clock that was set back fills nothing. */
  const levelOf = ({ id, perMinute }: Bucket): number => {
    const known = levels.get(id);
    if (known === undefined) return perMinute;
    const elapsed = Math.max(0, clock.now() - known.at);
    return Math.min(perMinute, known.level + (elapsed * perMinute) / minuteMs);
  };
  const take = (bucket: Bucket, amount: number) => {
    levels.set(bucket.id, { level: levelOf(bucket) - amount, at: clock.now() });
    changed.add(bucket.id);
  };
  const refuse = ({ unit, perMinute, id }: Bucket, needed: number) => {
    const missing = needed - levelOf({ unit, perMinute, id });
    const seconds = Math.ceil((missing * minuteMs) / Math.max(perMinute, 1e-9) / 1000);
    const message = `Your limit is ${perMinute} ${unit} a minute. Try again in ${Math.max(1, seconds)} s.`;
    return new LorikeetError('rate_limit_exceeded', { message, retryAfterSeconds: Math.max(1, seconds) });
  };
  const flush = async () => {
    const written = [...changed].map((id) => ({ id, ...levels.get(id)! }));
    changed.clear();
    if (written.length === 0) return;
    await table.save(written).catch((error) => {
      for (const { id } of written) changed.add(id);
      log.warn({ err: error }, 'levels of rate limits could not be written; they are tried again');
    });
  };
  let isClosed = false;
  let cancel = () => {};
  const again = () => {
    if (isClosed) return;
    cancel = timers.after(flushMs, () => void flush().finally(again));
  };
  again();

  return {
    request(caller) {
      const buckets = bucketsOf(caller);
      for (const bucket of buckets) {
        const needed = bucket.unit === 'requests' ? 1 : Math.min(1, bucket.perMinute);
        if (levelOf(bucket) < needed) throw refuse(bucket, needed);
      }
      for (const bucket of buckets) if (bucket.unit === 'requests') take(bucket, 1);
    },
    assertTokens(caller, tokens) {
      for (const bucket of bucketsOf(caller)) {
        const needed = Math.min(tokens, bucket.perMinute);
        if (bucket.unit === 'tokens' && levelOf(bucket) < needed) throw refuse(bucket, needed);
      }
    },
    tokens(caller, tokens) {
      for (const bucket of bucketsOf(caller)) if (bucket.unit === 'tokens') take(bucket, tokens);
    },
    states(caller) {
      const tightest = new Map<Unit, RateState>();
      for (const bucket of bucketsOf(caller)) {
        const { unit, perMinute: limit } = bucket;
        const level = levelOf(bucket);
        const resetMs = limit === 0 ? minuteMs : ((limit - level) * minuteMs) / limit;
        const state = { unit, limit, remaining: Math.max(0, Math.floor(level)), resetMs: Math.ceil(resetMs) };
        if (state.remaining < (tightest.get(unit)?.remaining ?? Number.POSITIVE_INFINITY)) tightest.set(unit, state);
      }
      return [...tightest.values()];
    },
    flush,
    async close() {
      isClosed = true;
      cancel();
      await flush();
    },
  };
}
