// When keys were last used, written once in a while and at the end. A database that takes no writes costs these times
// and nothing else.

import type { Timers } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { KeyStore } from './keys.ts';

const periodMs = 60_000;

export type KeyUsesLog = { warn(fields: object, message: string): void };

/** @returns a function that ends it, after a last time */
export function writeKeyUses(keys: Pick<KeyStore, 'flush'>, timers: Timers, log: KeyUsesLog): () => Promise<void> {
  const flush = () => keys.flush().catch((error) => log.warn({ err: error }, 'times of key uses were not written'));
  const stop = repeatedly(timers, periodMs, flush);
  return async () => {
    stop();
    await flush();
  };
}
