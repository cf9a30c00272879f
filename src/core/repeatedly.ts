// Periodic work that never overlaps itself: the pause begins when the work is done.

import type { Timers } from './clock.ts';

/**
 * Repeats `work` until it is stopped.
 * @param ms milliseconds before the first turn and after each
 * @param work must handle its own errors
 * @returns the function that stops it: no turn begins after that
 */
export function repeatedly(timers: Timers, ms: number, work: () => void | Promise<void>): () => void {
  let isStopped = false;
  let cancel = () => {};
  const again = () => {
    if (!isStopped) cancel = timers.after(ms, () => void turn());
  };
  const turn = async () => {
    try {
      await work();
    } finally {
      again();
    }
  };
  again();
  return () => {
    isStopped = true;
    cancel();
  };
}
