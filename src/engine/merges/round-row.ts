// One row of merged weights -> codes. Two roundings, since a merge differs from a file of floats:
//
//   keepGrid   the base's own grid, w = scale * (code - zero) + minimum, and the rounding error carried along the row.
//              The base lies on that grid, so only what the adapter adds is rounded; but that is a small part of a
//              step, and rounding to nearest would give the base back: the adapter would be gone. Carried on, the
//              error of any stretch of a row stays below a step, and what the adapter adds arrives on average.
//   freshGrid  scale and minimum anew from the row's own blocks, each weight to the nearest code.

import { blockSize, type CodeBits } from '../../graph/quantized.ts';

/** Codes [k], and a scale and a minimum for each block of 32. A symmetric form leaves its minimums at 0. */
export type CodedRow = {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly minimums: Float32Array;
};

export const zeroOf = (bits: CodeBits): number => (bits === 4 ? 8 : 128);

/** Fills `codes`; `scales` and `minimums` are the grid. */
export function keepGrid(row: Float32Array, bits: CodeBits, { codes, scales, minimums }: CodedRow): void {
  const zero = zeroOf(bits);
  const last = 2 * zero - 1;
  /** What the weights so far were rounded down by, all together. */
  let carried = 0;
  for (let block = 0; block < scales.length; block++) {
    const scale = scales[block]!;
    const minimum = minimums[block]!;
    const inverse = scale === 0 ? 0 : 1 / scale;
    for (let i = block * blockSize; i < (block + 1) * blockSize; i++) {
      const wanted = row[i]! + carried;
      const code = Math.min(last, Math.max(0, Math.round((wanted - minimum) * inverse) + zero));
      codes[i] = code;
      carried = wanted - (scale * (code - zero) + minimum);
    }
  }
}

/** Fills all three. */
export function freshGrid(row: Float32Array, bits: CodeBits, isCorrected: boolean, coded: CodedRow): void {
  const { codes, scales, minimums } = coded;
  const zero = zeroOf(bits);
  const last = 2 * zero - 1;
  for (let block = 0; block < scales.length; block++) {
    const start = block * blockSize;
    let [lowest, highest] = [row[start]!, row[start]!];
    for (let i = start; i < start + blockSize; i++) {
      lowest = Math.min(lowest, row[i]!);
      highest = Math.max(highest, row[i]!);
    }
    const scale = Math.fround(isCorrected ? (highest - lowest) / last : symmetricScale(lowest, highest, zero));
    const minimum = Math.fround(isCorrected ? lowest + zero * scale : 0);
    const inverse = scale === 0 ? 0 : 1 / scale;
    scales[block] = scale;
    minimums[block] = minimum;
    for (let i = start; i < start + blockSize; i++) {
      codes[i] = Math.min(last, Math.max(0, Math.round((row[i]! - minimum) * inverse) + zero));
    }
  }
}

/** The larger end lands on code 0 at 4 bits, the one that has no twin (ggml's Q4_0); at 8 bits on 127 (Q8_0). */
function symmetricScale(lowest: number, highest: number, zero: number): number {
  const extreme = -lowest > highest ? lowest : highest;
  return zero === 8 ? -extreme / zero : Math.abs(extreme) / (zero - 1);
}
