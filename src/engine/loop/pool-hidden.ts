// Pools the hidden rows of a text's tokens, after the last norm, into one vector of length 1: the last row, or the mean
// of all. A prompt is read in chunks, and anew after a preemption; each position counts once.

import type { Pooling } from '../../core/pooling.ts';

export type HiddenPool = {
  /** Whether every position counts; otherwise only the last one. */
  readonly takesAll: boolean;
  /**
   * @param rows [positions, hidden], in rising order of positions; rows of positions that counted before are skipped
   */
  add(positions: readonly number[], rows: Float32Array): void;
  /** null where the rows hold values that are not finite. */
  vector(): Float32Array | null;
};

export function hiddenPool(pooling: Pooling): HiddenPool {
  let sum = new Float64Array(0);
  /** The lowest position that still counts. */
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
      // Normalising removes the mean's divisor. The square of the largest float32 is finite in 64 bits.
      const length = Math.sqrt(sum.reduce((total, value) => total + value * value, 0));
      if (!Number.isFinite(length)) return null;
      return Float32Array.from(sum, (value) => (length === 0 ? 0 : value / length));
    },
  };
}
