// A lowered linear as floats inside the graph, for products that no quantised operator does: the derivative by the
// input multiplies with W where the forward pass multiplies with its transpose.
//
//     w = scale * (code - zero) + minimum
//
// Exact up to the rounding of floats, and taken apart anew at each use: floats of one linear are in memory at a time.

import type { GraphBuilder } from './graph-builder.ts';
import type { LinearForm } from './lowered.ts';
import { blockSize } from './quantized.ts';
import { after, type TrainingBuilder } from './training-builder.ts';
import { product } from './training-product.ts';

/** [n, k], or [k, n] where `transposed`. */
export type FloatWeights = { readonly name: string; readonly transposed: boolean };

/** Rows [first, first + count) of a linear. */
export type RowRange = { readonly first: number; readonly count: number };

/** Floats of `rows`, not before the tensors `first` are there. */
export function floatWeights(
  t: TrainingBuilder,
  name: string,
  first: readonly string[],
  rows: RowRange = { first: 0, count: t.model.linears.get(name)!.n },
): FloatWeights {
  const { g, model } = t;
  const form = model.linears.get(name)!;
  const whole = rows.count === form.n;
  if (form.bits === 32) {
    const matrix = t.own(`${name}.matrix`);
    if (whole) return { name: matrix, transposed: true };
    // To wait would copy it there for each piece.
    if (t.on === 'device') return { name: columns(g, matrix, rows), transposed: true };
    return { name: columns(g, after(t, matrix, [form.k, form.n], first), rows), transposed: true };
  }
  if (t.on === 'device') {
    const numbers = Array.from({ length: rows.count }, (_, i) => rows.first + i);
    const listed = g.integers(`rows_${rows.first}_${rows.count}`, numbers);
    return { name: gatherRows(t, name, listed, first), transposed: false };
  }
  // Whole numbers first: the operator with a scale a block takes twice as long.
  const one = after(t, g.float('one', 1), [1], first);
  const codes = g.op('DequantizeLinear', [codesOf(t, name, rows), one, zeroOf(t, form.bits)]);
  const products = g.op('Mul', [codes, scalesOf(t, name, rows)]);
  const floats = form.corrected ? g.op('Add', [products, minimumsOf(t, name, rows, whole)]) : products;
  return { name: g.op('Reshape', [floats, g.integers(`rows_${form.k}`, [-1, form.k])]), transposed: false };
}

/** x [R, k] · Wᵀ -> [R, n] */
export const timesTransposed = (t: TrainingBuilder, x: string, { name, transposed }: FloatWeights): string =>
  product(t, [x, name], { transB: transposed ? 0 : 1 });

/** y [R, n] · W -> [R, k] */
export const timesWeights = (t: TrainingBuilder, y: string, { name, transposed }: FloatWeights): string =>
  product(t, [y, name], { transB: transposed ? 1 : 0 });

/** Rows of a linear by their numbers [S] -> float32 [S, k], not before the tensors `first` are there. */
export function gatherRows(t: TrainingBuilder, name: string, indices: string, first: readonly string[] = []): string {
  const { g, model } = t;
  const form = model.linears.get(name)!;
  const { bits, n, k } = form;
  if (bits === 32) {
    return g.op('Transpose', [g.op('Gather', [t.own(`${name}.matrix`), indices], { axis: 1 })], { perm: [1, 0] });
  }
  const data = model.weights.get(`${name}.blocks`)!.data;
  const bytes = t.weight(`${name}.bytes`, { type: 'uint8', shape: [n, (k * bits) / 8], data });
  const scales = t.weight(`${name}.row_scales`, {
    type: 'float32',
    shape: [n, k / blockSize],
    data: model.weights.get(`${name}.scales`)!.data,
  });
  const attributes = { bits, block_size: blockSize, gather_axis: 0, quantize_axis: 1 };
  const waiting = first.length === 0 ? scales : after(t, scales, [n, k / blockSize], first);
  const [rows] = g.contrib('GatherBlockQuantized', [bytes, indices, waiting], attributes);
  if (!form.corrected) return rows!;
  const byRow = g.op('Gather', [g.op('Transpose', [t.own(`${name}.minimums`)], { perm: [1, 0] }), indices]);
  const minimums = g.op('Unsqueeze', [byRow, g.integers('last', [-1])]);
  const inBlocks = g.op('Reshape', [rows!, g.integers(`blocks_${k}`, [-1, k / blockSize, blockSize])]);
  return g.op('Reshape', [g.op('Add', [inBlocks, minimums]), g.integers(`rows_${k}`, [-1, k])]);
}

const zeroOf = ({ weight }: TrainingBuilder, bits: 4 | 8): string =>
  weight(`zero_${bits}`, { type: codeTypes[bits], shape: [1], data: Uint8Array.of(bits === 4 ? 8 : 128) });

const codeTypes = { 4: 'uint4', 8: 'uint8' } as const;

function codesOf({ model, weight }: TrainingBuilder, name: string, { first, count }: RowRange): string {
  const { bits, k } = model.linears.get(name) as LinearForm & { bits: 4 | 8 };
  const bytes = (k * bits) / 8;
  const data = (model.weights.get(`${name}.blocks`)!.data as Uint8Array<ArrayBuffer>).subarray(
    first * bytes,
    (first + count) * bytes,
  );
  return weight(`${name}.codes.${first}`, { type: codeTypes[bits], shape: [count, k / blockSize, blockSize], data });
}

/** [count, k / 32, 1] */
function scalesOf({ model, weight }: TrainingBuilder, name: string, { first, count }: RowRange): string {
  const blocks = model.linears.get(name)!.k / blockSize;
  const all = model.weights.get(`${name}.scales`)!.data as Float32Array<ArrayBuffer>;
  const data = all.subarray(first * blocks, (first + count) * blocks);
  return weight(`${name}.scales.${first}`, { type: 'float32', shape: [count, blocks, 1], data });
}

/** [count, k / 32, 1] of the [k / 32, n] that the forward product reads. */
function minimumsOf(t: TrainingBuilder, name: string, rows: RowRange, whole: boolean): string {
  const all = t.own(`${name}.minimums`);
  const cut = whole ? all : columns(t.g, all, rows);
  return t.g.op('Unsqueeze', [t.g.op('Transpose', [cut], { perm: [1, 0] }), t.g.integers('last', [-1])]);
}

function columns(g: GraphBuilder, matrix: string, { first, count }: RowRange): string {
  const [start, end] = [g.integers(`at_${first}`, [first]), g.integers(`at_${first + count}`, [first + count])];
  return g.op('Slice', [matrix, start, end, g.integers('at_1', [1])]);
}
