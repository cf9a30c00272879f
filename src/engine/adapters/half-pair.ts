// An adapter's pair of matrices in 16 bits. scaling * B A is kept as share * (B' A') with half floats B' and A':
//
//   exact       a linear all of whose pairs are F16 with one scaling: the files' own bits, share = scaling.
//   balanced    any other: rank by rank, A' = A * 2^a and B' = B * 2^(s + b) with scaling = m * 2^s, 1 <= m < 2, and
//               a + b = 8, so that the largest values of both are alike; share = m * 2^-8. Powers of two round nothing:
//               a value is off by 2^-11 of itself, or by 2^-25, where the largest is about
//               16 * sqrt(max |A| * max |2^s * B|)
//
// Where a linear's pairs differ in their scaling, or have DoRA's gains, these are multiplied into B before it is
// rounded. A half float holds the 8 significant bits of BF16. The bound on an adapter's growth (limits.adapterGrowth)
// keeps both matrices below 2^15, so no half float overflows, however unlike A and B are.

import { bitsOf } from '../../formats/half.ts';
import type { JoinedSizes, ResidentPart } from './resident-adapter.ts';

const balanceBits = 8;
export const balancedShare = 2 ** -balanceBits;

/** Largest exponent of a value: one below that of the largest half float, so that rounding stays below it. */
const exponentMax = 14;

/** Copies F16 bits: A [r, in] unchanged, B [out, r] transposed. */
export function writeHalves(
  { ranks, a, b }: ResidentPart,
  { in: inputs }: JoinedSizes,
  layer: number,
  bits: { readonly a: Uint16Array; readonly b: Uint16Array },
): void {
  const at = layer * ranks;
  const r = bits.a.length / inputs;
  const out = bits.b.length / r;
  bitsOf(a).set(bits.a, at * inputs);
  const target = bitsOf(b);
  for (let rank = 0; rank < r; rank++) {
    const start = (at + rank) * out;
    for (let i = 0; i < out; i++) target[start + i] = bits.b[i * r + rank]!;
  }
}

/**
 * Writes a pair into a layer, balanced rank by rank.
 * @param pair A [r, in], and B transposed, [r, out], with its scaling and gains
 * @returns false where half floats do not reach that far
 */
export function writeBalanced(
  { ranks, a, b }: ResidentPart,
  { in: inputs }: JoinedSizes,
  layer: number,
  pair: { readonly a: Float32Array; readonly b: Float32Array },
): boolean {
  const r = pair.a.length / inputs;
  const out = pair.b.length / r;
  for (let rank = 0; rank < r; rank++) {
    const [rowA, rowB] = [pair.a.subarray(rank * inputs), pair.b.subarray(rank * out)];
    const [largestA, largestB] = [exponentOf(rowA, inputs), exponentOf(rowB, out)];
    const [bitsA, bitsB] = balance(largestA, largestB);
    if (Math.max(largestA + bitsA, largestB + bitsB) > exponentMax) return false;
    const at = layer * ranks + rank;
    scaleInto(a, at * inputs, rowA, inputs, bitsA);
    scaleInto(b, at * out, rowB, out, bitsB);
  }
  return true;
}

/**
 * Exponents by which to scale both rows, from those of their largest values. In a rank that adds nothing neither
 * matters.
 */
function balance(a: number, b: number): [number, number] {
  if (!Number.isFinite(a) || !Number.isFinite(b)) {
    return [Number.isFinite(a) ? -a : 0, Number.isFinite(b) ? -b : 0];
  }
  const bitsA = Math.floor((balanceBits + b - a) / 2);
  return [bitsA, balanceBits - bitsA];
}

/** Binary exponent of the largest of `count` absolute values; minus infinity where all are 0. */
function exponentOf(values: Float32Array, count: number): number {
  let most = 0;
  for (let i = 0; i < count; i++) most = Math.max(most, Math.abs(values[i]!));
  return Math.floor(Math.log2(most));
}

/** Multiplies by 2^bits, in two steps since one power might be beyond float32. */
function scaleInto(target: Float16Array, at: number, values: Float32Array, count: number, bits: number): void {
  const [first, second] = [2 ** Math.trunc(bits / 2), 2 ** (bits - Math.trunc(bits / 2))];
  for (let i = 0; i < count; i++) target[at + i] = values[i]! * first * second;
}

/** m of number = m * 2^s, 1 <= |m| < 2: the factor that is not a power of two, which alone would round values. */
export function mantissaOf(number: number): number {
  const power = 2 ** Math.floor(Math.log2(Math.abs(number)));
  return Number.isFinite(power) && power > 0 ? number / power : 1;
}
