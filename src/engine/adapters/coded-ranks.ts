// Ranks of A and B in 8 bits: a scale as a half float, then codes from -127 to 127, two in an element of 16 bits; value
// = scale * code. A value is off by up to half a scale, which is a 254th of its rank's largest, and by the error of 16
// bits.

import { rankElements } from '../../core/page-sizes.ts';
import { bitsOf, floatOfHalf } from '../../formats/half.ts';

const codeMost = 127;

/** Codes one rank of half floats. The scale is 0 where all values are 0, or too small for a half float to hold it. */
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

/** Decodes ranks of `width` values that lie one behind another. */
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
