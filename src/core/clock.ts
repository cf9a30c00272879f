// The only module that reads the wall clock, so that tests and simulations can pass a clock of their own.

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

/** Timers beside the clock, so that a simulation moves both together. */
export type Timers = {
  /** Calls `call` once after `ms` milliseconds, unless the returned function is called before. */
  after(ms: number, call: () => void): () => void;
};

/** Timers of the process. A waiting timer does not keep the process alive. */
export const systemTimers: Timers = {
  after(ms, call) {
    const timer = setTimeout(call, ms).unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms` milliseconds. */
export const sleep = (timers: Timers, ms: number): Promise<void> =>
  new Promise((resolve) => timers.after(ms, () => resolve()));
