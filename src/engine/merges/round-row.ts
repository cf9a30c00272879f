// One row of merged weights -> codes, w = scale * (code - zero) + minimum with one scale and minimum a block of 32.
//
// The base lies on its grid already. Kept, only what the adapter adds has to be rounded; but that is a small part of a
// step, and to the nearest code nearly every weight would fall back to the base's: the adapter would be gone. So the
// error of each weight is carried to the next one, and what the adapter adds arrives in the sum of every stretch of a
// row. docs/log.md has the figures of this and of what else was tried.

import { blockSize, type CodeBits } from '../../graph/quantized.ts';

/** Codes [k], and a scale and a minimum for each block of 32. A symmetric form's minimums are 0. */
export type CodedRow = {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly minimums: Float32Array;
};

export type Rounding = {
  readonly bits: CodeBits;
  /** The form has minimums. */
  readonly corrected: boolean;
  /** The grid in `coded` is the base's, in codes of the same bits. */
  readonly keepsGrid: boolean;
};

export const zeroOf = (bits: CodeBits): number => (bits === 4 ? 8 : 128);

/**
 * Fills `coded` with the row [k]. A block keeps its grid if that reaches all of its weights, up to half a step, and
 * has a new one otherwise. No weight ends farther than one step of its grid from what it should be.
 */
export function roundRow(row: Float32Array, coded: CodedRow, { bits, corrected, keepsGrid }: Rounding): void {
  const { codes, scales, minimums } = coded;
  const zero = zeroOf(bits);
  const last = 2 * zero - 1;
  /** What the weights so far lack. */
  let carried = 0;
  for (let block = 0; block < scales.length; block++) {
    const start = block * blockSize;
    const values = row.subarray(start, start + blockSize);
    if (!keepsGrid || !reaches(values, scales[block]!, minimums[block]!, zero)) {
      const [scale, minimum] = gridOf(values, zero, corrected);
      scales[block] = scale;
      minimums[block] = minimum;
    }
    const scale = scales[block]!;
    const lowest = minimums[block]! - zero * scale;
    const inverse = scale === 0 ? 0 : 1 / scale;
    const most = Math.abs(scale) / 2;
    // Half a step at most, or a coarse block would push a fine one beyond its codes.
    carried = Math.min(most, Math.max(-most, carried));
    for (let i = 0; i < blockSize; i++) {
      const wanted = values[i]! + carried;
      const code = Math.min(last, Math.max(0, Math.round((wanted - lowest) * inverse)));
      codes[start + i] = code;
      carried = Math.min(most, Math.max(-most, wanted - lowest - scale * code));
    }
  }
}

/** All values lie within half a step of some code. */
function reaches(values: Float32Array, scale: number, minimum: number, zero: number): boolean {
  if (scale === 0) return false;
  const inverse = 1 / scale;
  for (let i = 0; i < blockSize; i++) {
    const code = (values[i]! - minimum) * inverse + zero;
    if (!(code >= -0.5 && code <= 2 * zero - 0.5)) return false;
  }
  return true;
}

/** The finest grid that spans all values. */
function gridOf(values: Float32Array, zero: number, corrected: boolean): [scale: number, minimum: number] {
  let lowest = values[0]!;
  let highest = values[0]!;
  for (let i = 1; i < blockSize; i++) {
    lowest = Math.min(lowest, values[i]!);
    highest = Math.max(highest, values[i]!);
  }
  if (corrected) {
    const scale = Math.fround((highest - lowest) / (2 * zero - 1));
    return [scale, lowest + zero * scale];
  }
  // Code 0 has no positive twin: the scale's sign says at which end it is of more use.
  const upright = Math.max(-lowest / zero, highest / (zero - 1));
  const inverted = Math.max(highest / zero, -lowest / (zero - 1));
  return upright <= inverted ? [upright, 0] : [-inverted, 0];
}
