// How long a refused caller should wait, from the pace at which sequences have been ending.

import type { Clock } from '../core/clock.ts';

export type DrainRate = {
  sequenceEnded(): void;
  /** Seconds until a queue of this length is likely to be empty, 1 to 60. */
  secondsFor(waiting: number): number;
};

/** Weight of the newest gap: about the last ten ends count. */
const weight = 0.1;

export function drainRate(clock: Clock): DrainRate {
  let gapMs: number | null = null;
  let lastAt: number | null = null;
  return {
    sequenceEnded() {
      const now = clock.monotonic();
      if (lastAt !== null) gapMs = gapMs === null ? now - lastAt : gapMs + weight * (now - lastAt - gapMs);
      lastAt = now;
    },
    secondsFor: (waiting) => Math.min(60, Math.max(1, Math.ceil((waiting * (gapMs ?? 0)) / 1000))),
  };
}
