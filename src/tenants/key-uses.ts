// Writes the times of keys' last uses, once a minute and at the end. A database that takes no writes loses only these
// times.

import type { Timers } from '../core/clock.ts';
import { repeatedly } from '../core/repeatedly.ts';
import type { KeyStore } from './keys.ts';

const periodMs = 60_000;

export type KeyUsesLog = { warn(fields: object, message: string): void };

/** @returns a function that writes a last time and stops */
export function writeKeyUses(keys: Pick<KeyStore, 'flush'>, timers: Timers, log: KeyUsesLog): () => Promise<void> {
  const flush = () => keys.flush().catch((error) => log.warn({ err: error }, 'times of key uses were not written'));
  const stop = repeatedly(timers, periodMs, flush);
  return async () => {
    stop();
    await flush();
  };
}
