// Ranks of A and B in 8 bits: a half float and then codes, value = scale * code, -127 to 127, two in an element of 16
// bits. A value is off by half a scale, a 254th of its rank's largest, and by what 16 bits cost before.

import { rankElements } from '../../core/page-sizes.ts';
import { bitsOf, floatOfHalf } from '../../formats/half.ts';

const codeMost = 127;

/** A rank of half floats; the scale is 0 where there is nothing, or so little that it is no half float. */
export function encodeRank(halves: Uint16Array, coded: Uint16Array): void {
  let most = 0;
  for (const half of halves) most = Math.max(most, Math.abs(floatOfHalf(half)));
  coded[0] = halfOf(most / codeMost);
  const scale = floatOfHalf(coded[0]);
  if (scale === 0) return;
  const codes = new Int8Array(coded.buffer, coded.byteOffset + Uint16Array.BYTES_PER_ELEMENT, halves.length);
  for (let i = 0; i < halves.length; i++) {
    const code = Math.round(floatOfHalf(halves[i]!) / scale);
    codes[i] = Math.max(-codeMost, Math.min(codeMost, code));
  }
}

/** Ranks behind each other, of `width` values. */
export function decodedRanks(coded: Float16Array<ArrayBuffer>, width: number): Float32Array<ArrayBuffer> {
  const bits = bitsOf(coded);
  const stride = rankElements(width, 8);
  const values = new Float32Array((bits.length / stride) * width);
  for (let rank = 0; rank * stride < bits.length; rank++) {
    const scale = floatOfHalf(bits[rank * stride]!);
    const codes = new Int8Array(coded.buffer, coded.byteOffset + 2 * (rank * stride + 1), width);
    for (let i = 0; i < width; i++) values[rank * width + i] = scale * codes[i]!;
  }
  return values;
}

const halfOf = (value: number): number => bitsOf(Float16Array.of(value))[0]!;
