// Splits long work on the engine's one thread into pieces. Between two of them the event loop has its turn, and with it
// a step that has finished: loading an adapter would otherwise delay everybody's tokens.

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../core/clock.ts';

/** Longest stretch of work in milliseconds, far below a step's time. */
const stretchMsMax = 1;

/**
 * Milliseconds of rest after a stretch while steps run: their threads want every core, and work without rests takes
 * half of one.
 */
const restMs = 4;

export type Breath = {
  /** Returns at once, or after a turn of the event loop if the last turn is a millisecond or more ago. */
  take(): Promise<void>;
};

/** @param rests asked after each stretch whether steps have more right to the processor; never, by default */
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
