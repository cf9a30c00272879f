// Long work on the engine's one thread, in pieces: between two of them the event loop takes its turn, and with it a
// step that has finished. Loading an adapter would otherwise hold up everybody's tokens.

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../core/clock.ts';

/** Work at a stretch: far below a step's time. */
const stretchMsMax = 1;

/** After a stretch while steps run: their threads want every core, and work without rests takes half of one. */
const restMs = 4;

export type Breath = {
  /** Returns at once, or after a turn of the event loop where the last one is a millisecond ago. */
  take(): Promise<void>;
};

/** @param rests says, after each stretch, whether others have more right to the processor; never by default */
export function createBreath(clock: Clock, rests: () => boolean = () => false): Breath {
  let since = clock.monotonic();
  return {
    async take() {
      if (clock.monotonic() - since < stretchMsMax) return;
      if (rests()) await sleep(restMs);
      else await nextTurn();
      since = clock.monotonic();
    },
  };
}
