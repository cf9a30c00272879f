// A frozen linear W [n, k] of a training graph, forward and backward, and its rows.
//
//     product   x [R, k] -> x Wᵀ (+ bias) [R, n]
//     grad      dy [R, n] -> dy W [R, k], the share of W in the derivative by the input
//
// On the host the native operators multiply weights of 4 and 8 bits in the memory that serves, and round x and dy to 16
// bits in blocks of 32 (native/kernels/quantized_linear.c, quantized_linear_grad.c). Everything else is products of
// floats. A device dequantises 4 and 8 bits anew at each use,
//
//     w = scale * (code - zero) + minimum,
//
// exact up to the rounding of floats, so that the floats of only one linear are in memory at a time. Where products are
// of bfloat16, so is W: floats are held in it, and codes are taken apart into it, on the way there too.

import { hostLinear, operatorLinear, packedAttributes } from './linear.ts';
import { isFloats, type LinearForm } from './lowered.ts';
import { inPrecision } from './operator-form.ts';
import { type PackedForm, packedBytes } from './packed.ts';
import { blockSize } from './quantized.ts';
import { after, type TrainingBuilder } from './training-builder.ts';
import { product } from './training-product.ts';

export type FrozenLinear = {
  product(x: string): string;
  grad(dy: string): string;
};

/** Rows [first, first + count) of a linear. */
export type RowRange = { readonly first: number; readonly count: number };

const isNative = ({ on }: TrainingBuilder, { bits }: LinearForm): boolean => on === 'host' && !isFloats(bits);

export function frozenLinear(t: TrainingBuilder, name: string): FrozenLinear {
  const form = t.model.linears.get(name)!;
  const bias = form.bias ? [t.ownOperand(`${name}.bias`)] : [];
  if (isNative(t, form)) {
    const packed = t.own(`${name}.packed`);
    return {
      product: (x) => hostLinear(t.g, { name, form }, { x }),
      grad: (dy) => t.g.native('QuantizedLinearGrad', [dy, packed], packedAttributes(form)),
    };
  }
  const isTakenApart = t.precision !== 'float32' && !isFloats(form.bits);
  if (!isTakenApart) for (const part of operatorParts(form)) t.ownOperand(`${name}.${part}`);
  return {
    product: (x) =>
      isTakenApart
        ? t.g.op('Gemm', [x, floatRows(t, name, [x]).name, ...bias], { transB: 1 })
        : operatorLinear(t.g, { name, form }, x),
    grad: (dy) => timesRows(t, dy, floatRows(t, name, [dy])),
  };
}

/**
 * Rows of a linear as one without bias, not before the tensors `first` are computed. `rows` begin and end at multiples
 * of 8.
 */
export function frozenRows(t: TrainingBuilder, name: string, rows: RowRange, first: readonly string[]): FrozenLinear {
  const form = t.model.linears.get(name)!;
  if (!isNative(t, form)) {
    const floats = floatRows(t, name, first, rows);
    return {
      product: (x) => product(t, [x, floats.name], { transB: floats.transposed ? 0 : 1 }),
      grad: (dy) => timesRows(t, dy, floats),
    };
  }
  const part = { ...form, n: rows.count };
  const packed = packedRowsOf(t, name, rows);
  const attributes = packedAttributes(part);
  return {
    product: (x) => t.g.native('QuantizedLinear', [after(t, x, [-1, form.k], first), packed], attributes),
    grad: (dy) => t.g.native('QuantizedLinearGrad', [dy, packed], attributes),
  };
}

/** Gathers rows of a linear by their numbers [S]: [S, k], operands of products. */
export function gatherRows(t: TrainingBuilder, name: string, indices: string): string {
  const form = t.model.linears.get(name)!;
  if (isFloats(form.bits)) {
    return t.g.op('Transpose', [t.g.op('Gather', [t.ownOperand(`${name}.matrix`), indices], { axis: 1 })], {
      perm: [1, 0],
    });
  }
  if (t.on === 'device') return gatherBlocks(t, name, indices);
  return t.g.native('QuantizedEmbedding', [indices, t.own(`${name}.packed`)], packedAttributes(form));
}

function packedRowsOf({ model, weight }: TrainingBuilder, name: string, { first, count }: RowRange): string {
  const form = model.linears.get(name) as PackedForm;
  const all = model.weights.get(`${name}.packed`)!.data as Uint8Array<ArrayBuffer>;
  const start = packedBytes({ ...form, n: first });
  const data = all.subarray(start, start + packedBytes({ ...form, n: count }));
  return weight(`${name}.packed.${first}`, { type: 'uint8', shape: [data.length], data });
}

/** A float matrix: [n, k], or [k, n] where `transposed`. */
type FloatRows = { readonly name: string; readonly transposed: boolean };

const timesRows = (t: TrainingBuilder, y: string, { name, transposed }: FloatRows): string =>
  product(t, [y, name], { transB: transposed ? 1 : 0 });

/** The rows as floats, not before the tensors `first` are computed. */
function floatRows(
  t: TrainingBuilder,
  name: string,
  first: readonly string[],
  rows: RowRange = { first: 0, count: t.model.linears.get(name)!.n },
): FloatRows {
  const { g, model } = t;
  const form = model.linears.get(name)!;
  if (!isFloats(form.bits)) {
    const numbers = Array.from({ length: rows.count }, (_, i) => rows.first + i);
    const listed = g.integers(`rows_${rows.first}_${rows.count}`, numbers);
    return { name: gatherBlocks(t, name, listed, first), transposed: false };
  }
  const matrix = t.ownOperand(`${name}.matrix`);
  if (rows.count === form.n) return { name: matrix, transposed: true };
  // On a device, waiting would copy the matrix for each piece.
  const waiting = t.on === 'device' ? matrix : after(t, matrix, [form.k, form.n], first);
  const [start, end] = [rows.first, rows.first + rows.count].map((at) => g.integers(`at_${at}`, [at]));
  return { name: g.op('Slice', [waiting, start!, end!, g.integers('at_1', [1])]), transposed: true };
}

/** Gathers rows on a device by their numbers, not before the tensors `first` are computed. */
function gatherBlocks(t: TrainingBuilder, name: string, indices: string, first: readonly string[] = []): string {
  const { g, model } = t;
  const { bits, n, k, corrected } = model.linears.get(name)!;
  const data = model.weights.get(`${name}.blocks`)!.data as Uint8Array<ArrayBuffer>;
  const bytes = t.weight(`${name}.bytes`, { type: 'uint8', shape: [n, (k * bits) / 8], data });
  const shape = [n, k / blockSize];
  const scales = t.weight(`${name}.row_scales`, {
    ...inPrecision(model.weights.get(`${name}.scales`)!, t.precision),
    shape,
  });
  const attributes = { bits, block_size: blockSize, gather_axis: 0, quantize_axis: 1 };
  const waiting = first.length === 0 ? scales : after(t, scales, shape, first, t.precision);
  const [rows] = g.contrib('GatherBlockQuantized', [bytes, indices, waiting], attributes);
  if (!corrected) return rows!;
  const byRow = g.op('Gather', [g.op('Transpose', [t.ownOperand(`${name}.minimums`)], { perm: [1, 0] }), indices]);
  const minimums = g.op('Unsqueeze', [byRow, g.integers('last', [-1])]);
  const inBlocks = g.op('Reshape', [rows!, g.integers(`blocks_${k}`, [-1, k / blockSize, blockSize])]);
  return g.op('Reshape', [g.op('Add', [inBlocks, minimums]), g.integers(`rows_${k}`, [-1, k])]);
}

const operatorParts = ({ bits, corrected }: LinearForm): readonly string[] =>
  isFloats(bits) ? ['matrix'] : ['blocks', 'scales', ...(corrected ? ['minimums'] : [])];
