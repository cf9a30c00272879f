// One row of merged weights -> codes, w = scale * (code - zero) + minimum with one scale and minimum a block of 32.
//
// The base's weights lie on their grid already. If the grid is kept, only what the adapter adds has to be rounded. But
// that is a small part of a step, and rounding to the nearest code would return nearly every weight to the base's: the
// adapter would be lost. So the error of each weight is carried to the next one, and what the adapter adds arrives in
// the sum of every stretch of a row. docs/log.md has the figures of this and of the alternatives that were tried.

import type { CodedRow } from '../../graph/packed.ts';
import { blockSize, type CodeBits, zeroOf } from '../../graph/quantized.ts';

export type Rounding = {
  readonly bits: CodeBits;
  /** Whether the form has minimums. */
  readonly corrected: boolean;
  /** Whether the form holds scales and minimums as half floats. */
  readonly halves: boolean;
  /** Whether the grid in `coded` is the base's, for codes of the same bits. */
  readonly keepsGrid: boolean;
};

/**
 * Fills `coded` with the row [k]. A block keeps its grid if that reaches all of its weights, up to half a step;
 * otherwise it gets a new one. No weight ends farther than one step of its grid from its exact value.
 */
export function roundRow(row: Float32Array, coded: CodedRow, rounding: Rounding): void {
  const { bits, keepsGrid } = rounding;
  const { codes, scales, minimums } = coded;
  const zero = zeroOf(bits);
  const last = 2 * zero - 1;
  /** Sum of the rounding errors so far, bounded to half a step. */
  let carried = 0;
  for (let block = 0; block < scales.length; block++) {
    const start = block * blockSize;
    const values = row.subarray(start, start + blockSize);
    // DoRA's gain may have stretched the grid to values that the form cannot hold.
    if (keepsGrid) setGrid(coded, block, scales[block]!, minimums[block]!, rounding);
    if (!keepsGrid || !reaches(values, scales[block]!, minimums[block]!, zero)) {
      const [scale, minimum] = gridOf(values, zero, rounding);
      setGrid(coded, block, scale, minimum, rounding);
    }
    const scale = scales[block]!;
    const lowest = minimums[block]! - zero * scale;
    const inverse = scale === 0 ? 0 : 1 / scale;
    const most = Math.abs(scale) / 2;
    // Bounded to half a step, since the error of a coarse block could push a fine one beyond its codes.
    carried = Math.min(most, Math.max(-most, carried));
    for (let i = 0; i < blockSize; i++) {
      const wanted = values[i]! + carried;
      const code = Math.min(last, Math.max(0, Math.round((wanted - lowest) * inverse)));
      codes[start + i] = code;
      carried = Math.min(most, Math.max(-most, wanted - lowest - scale * code));
    }
  }
}

/**
 * Sets a block's grid, rounded to what the form holds: the scale, and the value of code 0 at 4 bits or the minimum at
 * 8.
 */
function setGrid(
  { scales, minimums }: CodedRow,
  block: number,
  scale: number,
  minimum: number,
  { bits, halves }: Rounding,
): void {
  const nearest = halves ? Math.f16round : Math.fround;
  scales[block] = nearest(scale);
  const shift = bits === 4 ? zeroOf(bits) * scales[block]! : 0;
  minimums[block] = nearest(minimum - shift) + shift;
}

/** Whether all values lie within half a step of some code. */
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
function gridOf(
  values: Float32Array,
  zero: number,
  { bits, corrected, halves }: Rounding,
): [scale: number, minimum: number] {
  let lowest = values[0]!;
  let highest = values[0]!;
  for (let i = 1; i < blockSize; i++) {
    lowest = Math.min(lowest, values[i]!);
    highest = Math.max(highest, values[i]!);
  }
  if (corrected) {
    const scale = Math.fround((highest - lowest) / (2 * zero - 1));
    if (!halves) return [scale, lowest + zero * scale];
    // The values that the form holds are rounded outwards; otherwise the ends would lie beyond the codes.
    /** The code whose value the form holds. */
    const code = bits === 4 ? 0 : zero;
    const held = halfBelow(lowest + code * scale);
    const [above, below] = [(highest - held) / (2 * zero - 1 - code), code === 0 ? 0 : (held - lowest) / code];
    const wider = -halfBelow(-Math.max(above, below));
    return [wider, held + (zero - code) * wider];
  }
  // Code 0 has no positive counterpart: the sign of the scale decides at which end it is of more use.
  const upright = Math.max(-lowest / zero, highest / (zero - 1));
  const inverted = Math.max(highest / zero, -lowest / (zero - 1));
  const size = Math.min(upright, inverted);
  const held = halves ? -halfBelow(-size) : size;
  return upright <= inverted ? [held, 0] : [-held, 0];
}

/** The largest half float that is not above `value`. */
function halfBelow(value: number): number {
  const nearest = Math.f16round(value);
  return nearest <= value ? nearest : Math.f16round(value - Math.abs(value) * 2 ** -11 - 2 ** -25);
}
