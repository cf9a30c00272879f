// How fast the queue moves, from the last times that a sequence left it: what Retry-After, and the refusal of what
// would come too late, are made of. Time without anybody waiting is no time of the queue's.

/** Starts older than this say nothing about now. */
const windowMs = 60_000;
const startsMax = 64;
const secondsMax = 60;
/** Said while nothing has left the queue lately: long enough to matter, short enough to be tried. */
const secondsUnknown = 5;

type Start = { readonly at: number; readonly gapMs: number };

export class DrainRate {
  readonly #starts: Start[] = [];
  #last = Number.NEGATIVE_INFINITY;

  /** @param since when the sequence began to wait */
  started(now: number, since: number): void {
    this.#starts.push({ at: now, gapMs: now - Math.max(since, this.#last) });
    this.#last = now;
    if (this.#starts.length > startsMax) this.#starts.shift();
  }

  /** Milliseconds between two starts while somebody waits; null where nothing is known. */
  msEach(now: number): number | null {
    const recent = this.#starts.filter(({ at }) => now - at <= windowMs);
    if (recent.length === 0) return null;
    return recent.reduce((sum, { gapMs }) => sum + gapMs, 0) / recent.length;
  }

  /** Whole seconds until so many starts have been, 1 to 60. */
  retryAfterSeconds(starts: number, now: number): number {
    const msEach = this.msEach(now);
    if (msEach === null) return secondsUnknown;
    return Math.min(Math.max(Math.ceil((starts * msEach) / 1000), 1), secondsMax);
  }
}
