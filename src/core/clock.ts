// The only reader of the wall clock, so that tests and simulations can pass a clock of their own.

export type Clock = {
  /** Milliseconds since the Unix epoch: for timestamps that leave the process. */
  now(): number;
  /** Milliseconds from an arbitrary start, never going back: for intervals. */
  monotonic(): number;
};

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};
