// Counts failed authentications by the caller's address, so that keys cannot be guessed at the network's speed and
// callers without a key do not keep the database busy.

import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { Limits } from '../../core/limits.ts';
import { networkOf } from './network.ts';

export type Attempts = {
  /** Throws `too_many_attempts` where this address has failed too often within the minute. */
  assertAllowed(ip: string): void;
  failed(ip: string): void;
};

const windowMs = 60_000;
/** Number of addresses that are counted; beyond it the least recently used one is forgotten. */
const addressesMax = 10_000;

type Window = { readonly since: number; count: number };

export function attempts({ authAttempts }: Pick<Limits, 'authAttempts'>, clock: Clock): Attempts {
  const windows = new LRUCache<string, Window>({ max: addressesMax });
  const current = (ip: string): Window | null => {
    const found = windows.get(networkOf(ip));
    return found !== undefined && clock.monotonic() - found.since < windowMs ? found : null;
  };
  return {
    assertAllowed(ip) {
      const window = current(ip);
      if (window === null || window.count < authAttempts) return;
      const leftMs = windowMs - (clock.monotonic() - window.since);
      throw new LorikeetError('too_many_attempts', { retryAfterSeconds: Math.ceil(leftMs / 1000) });
    },
    failed(ip) {
      const window = current(ip);
      if (window === null) windows.set(networkOf(ip), { since: clock.monotonic(), count: 1 });
      else window.count++;
    },
  };
}
