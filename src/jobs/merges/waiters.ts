// Callers that wait for a condition which only announced changes can make true.

import type { Timers } from '../../core/clock.ts';

export type Waiters = {
  /** Resolves when `isOver` holds, after `ms`, or when the signal is aborted. */
  wait(isOver: () => boolean, ms: number, signal: AbortSignal): Promise<void>;
  /** Checks all conditions again, because something has changed. */
  changed(): void;
};

export function waiters(timers: Timers): Waiters {
  const all = new Set<() => void>();
  return {
    wait(isOver, ms, signal) {
      if (isOver() || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const end = () => {
          all.delete(look);
          signal.removeEventListener('abort', end);
          cancel();
          resolve();
        };
        const look = () => {
          if (isOver()) end();
        };
        const cancel = timers.after(ms, end);
        all.add(look);
        signal.addEventListener('abort', end);
      });
    },
    changed() {
      for (const look of [...all]) look();
    },
  };
}
