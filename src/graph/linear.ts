// y = x Wᵀ (+ bias) for one lowered linear, x [R, k] -> y [R, n].
//
// The host has a native operator (native/kernels/quantized_linear.c, float_linear.h), which also computes what stands
// around the product (native/kernels/linear.h). It rounds blocks of 32 inputs: to 8 bits in the first `coarse` rows, to
// 16 in the others. A CUDA card has an operator of that name (native/cuda/quantized-linear.cu), which does not round
// inputs. ONNX Runtime's operators take blocks with a float minimum m as a symmetric product plus a correction, since
// w = scale * (code - zero) + m:
//     y = x · symmetricᵀ + blockSums(x) · m,   blockSums(x) [R, k/32], m [k/32, n].
// The correction is exact, and a thirty-second of the product's work.

import type { AdapterBits } from '../core/page-sizes.ts';
import { tileAttributes } from './card-form.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { isFloats, type LinearForm } from './lowered.ts';
import { hasMinimums } from './packed.ts';
import { blockSize } from './quantized.ts';
import type { GraphTarget } from './target.ts';

export type LinearInGraph = {
  readonly name: string;
  readonly form: LinearForm;
  /** int32 [1], an input of the graph: number of rows that are rounded to 8 bits; none by default, and on a device. */
  readonly coarse?: string;
};

/** Rows that a linear multiplies. The host's operator also computes what the optional fields ask for. */
export type LinearRows = {
  readonly x: string;
  /** [k]: x is first divided by its root mean square and multiplied by this. */
  readonly norm?: { readonly weight: string; readonly epsilon: number };
  /** Whether x is gate beside up, [R, 2k], and silu(gate) * up is multiplied. */
  readonly gated?: boolean;
  /** [R, n], added to the product. */
  readonly residual?: string;
};

/** Adapters for the host's operator: outputs of each part, bits of the values, and inputs (native/kernels/linear.h). */
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

/** Attributes of operators that describe packed weights. */
export const packedAttributes = (form: LinearForm) => {
  const { n, k, bits, halves } = form;
  return { n, k, bits, halves: Number(halves), minimums: Number(hasMinimums(form)) };
};

/** A linear of a device: by the project's operator where the device has it, over the packing of card-form.ts. */
export function deviceLinear(
  g: GraphBuilder,
  { hasOperators = false }: Pick<GraphTarget, 'hasOperators'>,
  { name, form }: LinearInGraph,
  x: string,
  result?: string,
): string {
  if (!hasOperators || isFloats(form.bits)) return operatorLinear(g, { name, form }, x, result);
  const bias = form.bias ? ['', `${name}.bias`] : [];
  return g.native('QuantizedLinear', [x, `${name}.packed`, ...bias], tileAttributes(form), result);
}

/** MatMulNBits' accuracy_level for float activations. */
const accuracyOfFloats = 1;

/**
 * A linear by ONNX Runtime's own operators, over weights in the packing of operator-form.ts: on other devices, and for
 * training.
 */
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
