// A sum over a sliding window, in a fixed number of parts; the oldest part falls out as a whole.

const parts = 12;

export type SlidingCount = {
  add(count: number, now: number): void;
  total(now: number): number;
};

/** @param windowMs length of the window; times are milliseconds of a clock that never goes back */
export function slidingCount(windowMs: number): SlidingCount {
  const partMs = windowMs / parts;
  const counts = new Float64Array(parts);
  /** Number of the current part, counted from the clock's start. */
  let current = 0;

  const advance = (now: number) => {
    const part = Math.floor(now / partMs);
    if (part <= current) return;
    for (let old = Math.max(current, part - parts) + 1; old <= part; old++) counts[old % parts] = 0;
    current = part;
  };

  return {
    add(count, now) {
      advance(now);
      counts[current % parts]! += count;
    },
    total(now) {
      advance(now);
      return counts.reduce((sum, count) => sum + count, 0);
    },
  };
}
