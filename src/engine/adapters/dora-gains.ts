// DoRA (arXiv 2402.09353) scales the adapted weight W + s B A row by row to the lengths in `magnitude`:
//     y = g * (W x + s B A x),   g [out] = magnitude / ||W + s B A||   (each row's length over its inputs),
// so g is one vector for each linear, and is computed once, when the adapter is read, against the dequantised base.

import { loweredName } from '../../graph/adapted-linear.ts';
import { rowReader } from '../../graph/dequantize-row.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import type { Breath } from './breath.ts';
import { firstOutput, type JoinedSizes } from './resident-adapter.ts';

/** A [r, in], and s B transposed, [r, out]. */
export type FloatPair = { readonly a: Float32Array<ArrayBuffer>; readonly b: Float32Array<ArrayBuffer> };

export type GainTarget = {
  readonly sizes: JoinedSizes;
  readonly layer: number;
  /** Index of the part in the joined linear. */
  readonly part: number;
};

/** Gains [out] of one part in one layer. */
export async function gainsOf(
  model: LoweredModel,
  { sizes, layer, part }: GainTarget,
  { a, b }: FloatPair,
  magnitude: Float32Array,
  breath: Breath,
): Promise<Float32Array> {
  const { linear, in: inputs, outs } = sizes;
  const name = loweredName(layer, linear);
  const first = firstOutput(sizes, part);
  const out = outs[part]!;
  const row = new Float32Array(inputs);
  const read = rowReader(model, name);
  const gains = new Float32Array(out);
  for (let n = 0; n < out; n++) {
    read(first + n, row);
    for (let rank = 0; rank < a.length / inputs; rank++) {
      const weight = b[rank * out + n]!;
      if (weight === 0) continue;
      for (let i = 0; i < inputs; i++) row[i]! += weight * a[rank * inputs + i]!;
    }
    gains[n] = magnitude[n]! / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    if (n % 64 === 63) await breath.take();
  }
  return gains;
}
