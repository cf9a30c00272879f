// Measures how fast the queue moves, from the last times that sequences left it. Retry-After and the refusal of
// sequences that would finish too late are computed from it. Time in which nobody waited does not count.

/** Starts older than this say nothing about now. */
const windowMs = 60_000;
const startsMax = 64;
const secondsMax = 60;
/** Retry-After while nothing has left the queue lately: long enough to matter, short enough to be tried. */
const secondsUnknown = 5;

type Start = { readonly at: number; readonly gapMs: number };

export class DrainRate {
  readonly #starts: Start[] = [];
  #last = Number.NEGATIVE_INFINITY;

  /** Notes that a sequence left the queue. @param since when it began to wait */
  started(now: number, since: number): void {
    this.#starts.push({ at: now, gapMs: now - Math.max(since, this.#last) });
    this.#last = now;
    if (this.#starts.length > startsMax) this.#starts.shift();
  }

  /** Mean milliseconds between two starts while somebody waits; null where nothing is known. */
  msEach(now: number): number | null {
    const recent = this.#starts.filter(({ at }) => now - at <= windowMs);
    if (recent.length === 0) return null;
    return recent.reduce((sum, { gapMs }) => sum + gapMs, 0) / recent.length;
  }

  /** Whole seconds until `starts` sequences have started, 1 to 60. */
  retryAfterSeconds(starts: number, now: number): number {
    const msEach = this.msEach(now);
    if (msEach === null) return secondsUnknown;
    return Math.min(Math.max(Math.ceil((starts * msEach) / 1000), 1), secondsMax);
  }
}
