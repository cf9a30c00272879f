// y = x Wᵀ (+ bias) for one lowered linear, x [R, k] -> y [R, n].
//
// On the host by a native operator (native/kernels/quantized_linear.c, float_linear.h), which also does what stands
// around the product (native/kernels/linear.h): of the rows the first `coarse` are rounded to 8 bits a block of 32, the
// others to 16. On a device blocks with a float minimum m are a symmetric product plus a correction, since
// w = scale * (code - zero) + m:
//     y = x · symmetricᵀ + blockSums(x) · m,   blockSums(x) [R, k/32], m [k/32, n].
// Exact, and a thirty-second of the product's work.

import type { AdapterBits } from '../core/page-sizes.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { isFloats, type LinearForm } from './lowered.ts';
import { hasMinimums } from './packed.ts';
import { blockSize } from './quantized.ts';

export type LinearInGraph = {
  readonly name: string;
  readonly form: LinearForm;
  /** int32 [1], an input of the graph: rows that are rounded to 8 bits. Left out: none; a device rounds none at all. */
  readonly coarse?: string;
};

/** Rows that a linear multiplies. What is beside them the host's operator does itself. */
export type LinearRows = {
  readonly x: string;
  /** [k]: x is normed by its root mean square first, and multiplied by this. */
  readonly norm?: { readonly weight: string; readonly epsilon: number };
  /** x is gate beside up, [R, 2k]: silu(gate) * up is multiplied. */
  readonly gated?: boolean;
  /** [R, n], added to the products. */
  readonly residual?: string;
};

/** What the host's operator is told of adapters: outputs of each part, and inputs (native/kernels/linear.h). */
export type LinearAdapters = {
  readonly outs: readonly number[];
  readonly bits: AdapterBits;
  readonly operands: readonly string[];
};

export function hostLinear(
  g: GraphBuilder,
  { name, form, coarse = '' }: LinearInGraph,
  { x, norm, gated = false, residual = '' }: LinearRows,
  adapters?: LinearAdapters,
  result?: string,
): string {
  const { bits, n, k, bias } = form;
  const own = [x, `${name}.packed`, isFloats(bits) ? '' : coarse, bias ? `${name}.bias` : ''];
  const operands = [...own, norm?.weight ?? '', residual, ...(adapters?.operands ?? [])];
  const attributes = {
    ...(isFloats(bits) ? { n, k } : packedAttributes(form)),
    ...(norm && { epsilon: { float: norm.epsilon } }),
    ...(gated && { gated: 1 }),
    ...(adapters && { ...outputsOf(adapters), adapter_bits: adapters.bits }),
  };
  const count = operands.findLastIndex((operand) => operand !== '') + 1;
  return g.native(hostOperators[bits], operands.slice(0, count), attributes, result);
}

const outputsOf = ({ outs }: LinearAdapters) => Object.fromEntries(outs.map((out, part) => [`out${part}`, out]));

const hostOperators = { 4: 'QuantizedLinear', 8: 'QuantizedLinear', 16: 'HalfLinear', 32: 'FloatLinear' } as const;

/** What an operator is told of packed weights. */
export const packedAttributes = (form: LinearForm) => {
  const { n, k, bits, halves } = form;
  return { n, k, bits, halves: Number(halves), minimums: Number(hasMinimums(form)) };
};

/** MatMulNBits' accuracy_level of float activations. */
const accuracyOfFloats = 1;

/** By ONNX Runtime's own operators, over weights in operator-form.ts's packing: of a device, and of training. */
export function operatorLinear(g: GraphBuilder, { name, form }: LinearInGraph, x: string, result?: string): string {
  const { bits, n, k, corrected, bias } = form;
  const biased = bias ? `${name}.bias` : '';
  if (isFloats(bits)) {
    return bias
      ? g.op('Gemm', [x, `${name}.matrix`, biased], {}, result)
      : g.op('MatMul', [x, `${name}.matrix`], {}, result);
  }
  const attributes = { K: k, N: n, bits, block_size: blockSize, accuracy_level: accuracyOfFloats };
  const operands = [x, `${name}.blocks`, `${name}.scales`, '', '', biased];
  const last = corrected ? null : (result ?? null);
  const [product] = g.contrib('MatMulNBits', bias ? operands : operands.slice(0, 3), attributes, [last]);
  return corrected ? g.op('Gemm', [blockSums(g, x, k), `${name}.minimums`, product!], {}, result) : product!;
}

/** Sums of 32 neighbouring columns: [R, k] -> [R, k/32]. */
function blockSums(g: GraphBuilder, x: string, k: number): string {
  const blocks = g.op('Reshape', [x, g.integers(`blocks_${k}`, [-1, k / blockSize, blockSize])]);
  return g.op('ReduceSum', [blocks, g.integers('last_axis', [-1])], { keepdims: 0 });
}
