// Work that comes again and again, never twice at once: the pause begins when it is done.

import type { Timers } from './clock.ts';

/**
 * @param work first after `ms`; what it throws is its own to tell
 * @returns what ends it: nothing begins after that
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
