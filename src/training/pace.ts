// The share of the time that training may compute in. After each piece of work it rests for as long as its share asks.

import type { Timers } from '../core/clock.ts';

export type Pace = {
  /** Above 0 to 1. A rest that is under way ends: the next one knows the new share. */
  setShare(share: number): void;
  /** Ends a rest that is under way. */
  wake(): void;
  /** Resolves when `workMs` of work and the rest behind it are in proportion. */
  rest(workMs: number): Promise<void>;
};

export function createPace(timers: Timers): Pace {
  let share = 1;
  let wake = () => {};
  return {
    setShare(next) {
      share = next;
      wake();
    },
    wake: () => wake(),
    rest(workMs) {
      const ms = workMs * (1 / share - 1);
      return new Promise<void>((resolve) => {
        const cancel = timers.after(ms, resolve);
        wake = () => {
          cancel();
          resolve();
        };
      });
    },
  };
}
