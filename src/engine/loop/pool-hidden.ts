// One vector for a text: its tokens' hidden rows after the last norm, the last one or the mean of all, at length 1. A
// prompt is read in chunks, and again where its sequence was preempted: a position counts once.

import type { Pooling } from '../../core/pooling.ts';

export type HiddenPool = {
  /** Whether every position counts; else the last one alone does. */
  readonly takesAll: boolean;
  /** @param rows [positions, hidden]; of rising positions, and what counted before is left out */
  add(positions: readonly number[], rows: Float32Array): void;
  /** null where the rows have values that are no numbers. */
  vector(): Float32Array | null;
};

export function hiddenPool(pooling: Pooling): HiddenPool {
  let sum = new Float64Array(0);
  /** The next position that counts, at the least. */
  let counted = 0;
  return {
    takesAll: pooling === 'mean',
    add(positions, rows) {
      const width = rows.length / positions.length;
      for (const [row, position] of positions.entries()) {
        if (position < counted) continue;
        if (sum.length === 0) sum = new Float64Array(width);
        for (let i = 0; i < width; i++) sum[i]! += rows[row * width + i]!;
        counted = position + 1;
      }
    },
    vector() {
      // The mean's divisor goes with the length. Squares of the largest float are numbers in 64 bits.
      const length = Math.sqrt(sum.reduce((total, value) => total + value * value, 0));
      if (!Number.isFinite(length)) return null;
      return Float32Array.from(sum, (value) => (length === 0 ? 0 : value / length));
    },
  };
}
