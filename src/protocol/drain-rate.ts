// How fast the queue moves, from the last times that a sequence left it: what Retry-After is made of.

/** Starts older than this say nothing about now. */
const windowMs = 60_000;
const startsMax = 64;
const secondsMax = 60;
/** Said while nothing has left the queue lately: long enough to matter, short enough to be tried. */
const secondsUnknown = 5;

export class DrainRate {
  readonly #starts: number[] = [];

  started(now: number): void {
    this.#starts.push(now);
    if (this.#starts.length > startsMax) this.#starts.shift();
  }

  /** Whole seconds until a queue of this length has been served, 1 to 60. */
  retryAfterSeconds(waiting: number, now: number): number {
    const recent = this.#starts.filter((start) => now - start <= windowMs);
    const oldest = recent[0];
    if (oldest === undefined) return secondsUnknown;
    const msEach = (now - oldest) / recent.length;
    return Math.min(Math.max(Math.ceil((waiting * msEach) / 1000), 1), secondsMax);
  }
}
