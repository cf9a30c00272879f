// Counts generated tokens by weights over a sliding window, merged or not: the measure of what is worth merging. It
// counts each token as it is generated, since a long answer is traffic long before it ends.

import { combineAdapters, mergeKey } from '../../core/adapter.ts';
import type { Clock } from '../../core/clock.ts';
import type { AdapterVersion } from '../../registry/adapter-registry.ts';
import { type SlidingCount, slidingCount } from './sliding-count.ts';

/** Versions as a request applied them; an empty list is the base model. */
export type AppliedVersions = {
  readonly tenant: string;
  readonly adapters: readonly { readonly adapter: AdapterVersion; readonly scale: number }[];
};

/** `share` of all tokens in the window, 0..1. `applied`: as the last request applied them. */
export type AdapterTraffic = { readonly key: string; readonly share: number; readonly applied: AppliedVersions };

export type TrafficLimits = { readonly trafficWindowMs: number; readonly trafficAdapters: number };

export type Traffic = {
  /** @returns a function that counts one token of a sequence on these weights */
  counterOf(applied: AppliedVersions): (now: number) => void;
  /** Tokens in the window, the base model's included. */
  tokens(): number;
  /** 0 where nothing was generated. */
  shareOf(key: string): number;
  /** All weights other than the base model's, in no order. */
  adapters(): AdapterTraffic[];
};

/** Beyond `trafficAdapters` different weights, further ones count only in the sum. */
export function measureTraffic(clock: Clock, { trafficWindowMs: windowMs, trafficAdapters }: TrafficLimits): Traffic {
  const all = slidingCount(windowMs);
  const byKey = new Map<string, { count: SlidingCount; applied: AppliedVersions }>();
  let sweptAt = Number.NEGATIVE_INFINITY;
  const now = () => clock.monotonic();

  /** Forgets weights without tokens. It looks at all weights, so at most once a window. */
  const makeRoom = (): boolean => {
    if (byKey.size < trafficAdapters) return true;
    if (now() - sweptAt < windowMs) return false;
    sweptAt = now();
    for (const [key, { count }] of byKey) if (count.total(sweptAt) === 0) byKey.delete(key);
    return byKey.size < trafficAdapters;
  };

  const countOf = ({ tenant, adapters }: AppliedVersions): SlidingCount | null => {
    // Virtual tokens have no weights to merge; the other adapters of such a request count as usual.
    const applied = { tenant, adapters: adapters.filter(({ adapter }) => adapter.virtualTokens === undefined) };
    if (applied.adapters.length === 0) return null;
    const key = keyOf(applied);
    const found = byKey.get(key);
    if (found !== undefined) {
      found.applied = only(applied);
      return found.count;
    }
    if (!makeRoom()) return null;
    const count = slidingCount(windowMs);
    byKey.set(key, { count, applied: only(applied) });
    return count;
  };

  const share = (count: SlidingCount, at: number) => {
    const tokens = all.total(at);
    return tokens === 0 ? 0 : count.total(at) / tokens;
  };

  return {
    counterOf(applied) {
      const count = countOf(applied);
      return (at) => {
        all.add(1, at);
        count?.add(1, at);
      };
    },
    tokens: () => all.total(now()),
    shareOf(key) {
      const found = byKey.get(key);
      return found === undefined ? 0 : share(found.count, now());
    },
    adapters() {
      const at = now();
      return [...byKey].map(([key, { count, applied }]) => ({ key, applied, share: share(count, at) }));
    },
  };
}

/** The key that the engine would use for a merge of them. */
const keyOf = ({ adapters }: AppliedVersions) =>
  mergeKey(combineAdapters(adapters.map(({ adapter: { digest }, scale }) => ({ files: { digest }, scale }))));

/** A copy without the other fields of a request. */
const only = ({ tenant, adapters }: AppliedVersions): AppliedVersions => ({
  tenant,
  adapters: adapters.map(({ adapter, scale }) => ({ adapter, scale })),
});
