// Requests, tokens and changes a minute, and sequences at once, for each ceiling. Tokens are taken as they are read and
// generated, so there may be a debt; a caller in debt waits until it is paid.

import { LorikeetError } from '../core/errors.ts';
import type { Allowance, Allowances } from './allowances.ts';
import type { Caller, Ceilings } from './ceilings.ts';

export type Unit = 'requests' | 'tokens';

/** One ceiling, as callers are told it. */
export type RateState = {
  readonly unit: Unit;
  /** Amount per minute. */
  readonly limit: number;
  readonly remaining: number;
  /** Milliseconds until the bucket is full. */
  readonly resetMs: number;
};

/** What a request needs before it starts. */
export type Beginning = {
  /** Tokens of its prompts. */
  readonly tokens: number;
  readonly sequences: number;
};

export type Rates = {
  /** Takes a request from the ceilings. Rejects with `rate_limit_exceeded` and then takes nothing. */
  request(caller: Caller): Promise<void>;
  /** Takes a change, which leaves an entry in the audit log. Rejects as `request` does. */
  change(caller: Caller): Promise<void>;
  /**
   * Takes the prompts' tokens and the sequences' places. Rejects with `rate_limit_exceeded` where that is more than is
   * left; prompts larger than a full bucket pass when it is full. @returns a function that frees the place of one
   * sequence
   */
  begin(caller: Caller, wanted: Beginning): Promise<() => void>;
  /** @returns a function that takes tokens that were read or generated */
  takerOf(caller: Caller): (tokens: number) => void;
  /** The tightest ceiling of each unit. */
  states(caller: Caller): RateState[];
};

type Ceiling = Allowance & { readonly unit: Unit | 'changes' | 'sequences' };

/** The level that is needed to pass, and the amount that is then taken. */
type Need = { readonly ceiling: Ceiling; readonly needed: number; readonly taken: number };

/** Seconds to wait for a place: when a sequence ends cannot be foreseen. */
const placeSeconds = 1;
/** Rounds of asking: other callers may take the allowance between an answer and its use. */
const roundsMax = 5;

export function ratesOf(ceilings: Ceilings, allowances: Allowances): Rates {
  const refusal = ({ ceiling, needed }: Need) => {
    const { unit, most } = ceiling;
    if (unit === 'sequences') {
      const message = `Your limit is ${most} sequences at once.`;
      return new LorikeetError('rate_limit_exceeded', { message, retryAfterSeconds: placeSeconds });
    }
    const retryAfterSeconds = Math.max(1, Math.ceil(allowances.msUntil(ceiling, needed) / 1000));
    const message = `Your limit is ${most} ${unit} a minute. Try again in ${retryAfterSeconds} s.`;
    return new LorikeetError('rate_limit_exceeded', { message, retryAfterSeconds });
  };
  /** Takes all amounts or none. */
  const take = async (needs: readonly Need[]): Promise<void> => {
    for (let round = 0; round < roundsMax; round++) {
      const asked = needs.map(({ ceiling, needed }) => allowances.ready(ceiling, needed)).filter((one) => one !== null);
      if (asked.length === 0) break;
      await Promise.all(asked);
    }
    for (const need of needs) if (allowances.level(need.ceiling) < need.needed) throw refusal(need);
    for (const { ceiling, taken } of needs) if (taken > 0) allowances.take(ceiling, taken);
  };
  return {
    async request(caller) {
      const needs = ceilingsOf(ceilings, caller).flatMap((ceiling): Need[] => {
        if (ceiling.unit === 'requests') return [{ ceiling, needed: 1, taken: 1 }];
        return ceiling.unit === 'tokens' ? [{ ceiling, needed: Math.min(1, ceiling.most), taken: 0 }] : [];
      });
      await take(needs);
    },
    async change(caller) {
      const own = ceilingsOf(ceilings, caller).filter(({ unit }) => unit === 'changes');
      await take(own.map((ceiling) => ({ ceiling, needed: 1, taken: 1 })));
    },
    async begin(caller, { tokens, sequences }) {
      const all = ceilingsOf(ceilings, caller);
      const needs = all.flatMap((ceiling): Need[] => {
        if (ceiling.unit === 'sequences') return [{ ceiling, needed: sequences, taken: sequences }];
        return ceiling.unit === 'tokens' ? [{ ceiling, needed: Math.min(tokens, ceiling.most), taken: tokens }] : [];
      });
      await take(needs);
      const places = all.filter(({ unit }) => unit === 'sequences');
      return () => {
        for (const place of places) allowances.take(place, -1);
      };
    },
    takerOf(caller) {
      const own = ceilingsOf(ceilings, caller).filter(({ unit }) => unit === 'tokens');
      return (tokens) => {
        for (const ceiling of own) allowances.take(ceiling, tokens);
      };
    },
    states(caller) {
      const tightest = new Map<Unit, RateState>();
      for (const ceiling of ceilingsOf(ceilings, caller)) {
        const { unit, most: limit } = ceiling;
        if (unit === 'sequences' || unit === 'changes') continue;
        const remaining = Math.max(0, Math.floor(allowances.left(ceiling)));
        const known = tightest.get(unit);
        if (known !== undefined && known.remaining <= remaining) continue;
        tightest.set(unit, { unit, limit, remaining, resetMs: allowances.msUntil(ceiling, limit) });
      }
      return [...tightest.values()];
    },
  };
}

function ceilingsOf(ceilings: Ceilings, caller: Caller): Ceiling[] {
  const found: Ceiling[] = [];
  const add = (owner: string, unit: Ceiling['unit'], most: number | undefined) => {
    if (most === undefined) return;
    found.push({ id: `${owner} ${unit}`, unit, most, perMinute: unit === 'sequences' ? null : most });
  };
  const both = [
    [`tenant ${caller.tenant}`, ceilings.tenantOf(caller)],
    [`key ${caller.keyPrefix}`, ceilings.keyOf(caller)],
  ] as const;
  for (const [owner, quota] of both) {
    add(owner, 'requests', quota.requests_per_minute);
    add(owner, 'tokens', quota.tokens_per_minute);
    add(owner, 'changes', quota.changes_per_minute);
    add(owner, 'sequences', quota.concurrent_sequences);
  }
  return found;
}
