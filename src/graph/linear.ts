// y = x Wᵀ (+ bias) for one lowered linear, x [R, k] -> y [R, n].
//
// Blocks with a float minimum m are a symmetric product plus a correction, since w = scale * (code - zero) + m:
//     y = x · symmetricᵀ + blockSums(x) · m,   blockSums(x) [R, k/32], m [k/32, n].
// Exact, and a thirty-second of the product's work.

import type { Activations } from '../core/base-model.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { LinearForm } from './lowered.ts';
import { blockSize } from './quantized.ts';
import { type GraphTarget, hostTarget } from './target.ts';

/** MatMulNBits' accuracy_level. */
const accuracyLevel = { float32: 1, int8: 4 } as const;

export type LinearInGraph = {
  readonly name: string;
  readonly form: LinearForm;
  readonly activations: Activations;
  /** The host by default. */
  readonly target?: GraphTarget;
};

export function linear(
  g: GraphBuilder,
  { name, form, activations, target = hostTarget }: LinearInGraph,
  x: string,
  result?: string,
): string {
  const { bits, n, k, corrected, bias } = form;
  const biased = bias ? `${name}.bias` : '';
  if (bits === 32) {
    return bias
      ? g.op('Gemm', [x, `${name}.matrix`, biased], {}, result)
      : g.op('MatMul', [x, `${name}.matrix`], {}, result);
  }
  const accuracy = accuracyLevel[bits === 4 || target.on === 'device' ? activations : 'int8'];
  const attributes = { K: k, N: n, bits, block_size: blockSize, accuracy_level: accuracy };
  const operands = [x, `${name}.blocks`, `${name}.scales`, '', '', biased];
  const last = corrected ? null : (result ?? null);
  const [product] = g.contrib('MatMulNBits', bias ? operands : operands.slice(0, 3), attributes, [last]);
  return corrected ? g.op('Gemm', [blockSums(g, x, k), `${name}.minimums`, product!], {}, result) : product!;
}

/**
 * [hi, lo] with hi + lo = x, and hi what rounding to 8 bits a block leaves: the sum of a rounding product over both is
 * exact to 15 bits, at twice the work. For few rows over 8-bit weights, which have no fast float product.
 */
export function inTwoParts(g: GraphBuilder, x: string): [hi: string, lo: string] {
  const blocks = g.op('Reshape', [x, g.integers('in_blocks', [0, -1, blockSize])]);
  const largest = g.op('ReduceMax', [g.op('Abs', [blocks]), g.integers('last_axis', [-1])], { keepdims: 1 });
  // A block of zeros would divide by zero.
  const scale = g.op('Max', [g.op('Mul', [largest, g.float('step', 1 / 127)]), g.float('tiny', 1e-30)]);
  const rounded = g.op('Mul', [g.op('Round', [g.op('Div', [blocks, scale])]), scale]);
  const hi = g.op('Reshape', [rounded, g.op('Shape', [x])]);
  return [hi, g.op('Sub', [x, hi])];
}

/** Sums of 32 neighbouring columns: [R, k] -> [R, k/32]. */
function blockSums(g: GraphBuilder, x: string, k: number): string {
  const blocks = g.op('Reshape', [x, g.integers(`blocks_${k}`, [-1, k / blockSize, blockSize])]);
  return g.op('ReduceSum', [blocks, g.integers('last_axis', [-1])], { keepdims: 0 });
}
