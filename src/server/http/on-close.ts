// Gives back what an answer holds, however and whenever it ends.

import type { ServerResponse } from 'node:http';

/**
 * Calls `release` once: when the answer has been sent or its connection closes, or at once where that has happened. A
 * caller may leave during any wait, and an answer emits `close` only once.
 */
export function onClose(raw: ServerResponse, release: () => void): void {
  if (raw.destroyed) release();
  else raw.once('close', release);
}
