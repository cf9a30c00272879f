// Long work on the engine's one thread, in pieces: between two of them the event loop takes its turn, and with it a
// step that has finished. Loading an adapter would otherwise hold up everybody's tokens.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../core/clock.ts';

/** Work at a stretch: far below a step's time. */
const stretchMsMax = 1;

export type Breath = {
  /** Returns at once, or after a turn of the event loop where the last one is a millisecond ago. */
  take(): Promise<void>;
};

export function createBreath(clock: Clock): Breath {
  let since = clock.monotonic();
  return {
    async take() {
      if (clock.monotonic() - since < stretchMsMax) return;
      await nextTurn();
      since = clock.monotonic();
    },
  };
}
