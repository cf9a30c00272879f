// Merges an adapter into one weight, row by row, as PEFT does: W + s B A, and with DoRA each row of the sum scaled to
// its magnitude. Sums are in 64 bits and rounded to the type that is written. Memory holds one tensor's own bytes and a
// chunk of rows, never a dense ΔW.

import type { FloatType, RawTensor } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { dequantize } from '../formats/dequantize.ts';
import { encodeFloats } from '../formats/encode-floats.ts';
import type { WeightChange } from './read-adapter.ts';

/** Gives the place in the tensor of a row to be written. */
export type RowOrder = (row: number) => number;

const inOrder: RowOrder = (row) => row;

/** Weights in a chunk: 2 MB in 64 bits. */
const chunkWeights = 2 ** 18;

/** Yields the rows' bytes in chunks. Throws `adapter_unsupported` for a weight beyond the type's range. */
export function* mergedWeight(
  tensor: RawTensor,
  change: WeightChange | null,
  type: FloatType,
  order: RowOrder = inOrder,
): Generator<Uint8Array> {
  const inputs = tensor.shape.at(-1)!;
  const chunkRows = Math.max(1, Math.floor(chunkWeights / inputs));
  const chunk = new Float64Array(chunkRows * inputs);
  let filled = 0;
  for (const row of rowsOf(tensor, order)) {
    const place = chunk.subarray(filled * inputs, (filled + 1) * inputs);
    place.set(row.weights);
    if (change !== null) mergeRow(place, row.index, change);
    if (++filled < chunkRows) continue;
    yield encode(tensor.name, type, chunk);
    filled = 0;
  }
  if (filled > 0) yield encode(tensor.name, type, chunk.subarray(0, filled * inputs));
}

/** Yields rows [in] as floats, with their places in the tensor. A vector is one row. */
export function* rowsOf(
  { type, shape, bytes }: RawTensor,
  order: RowOrder = inOrder,
): Generator<{ readonly index: number; readonly weights: Float32Array }> {
  const inputs = shape.at(-1)!;
  const rows = shape.length === 1 ? 1 : shape[0]!;
  const raw = bytes();
  const rowBytes = raw.length / rows;
  for (let row = 0; row < rows; row++) {
    const index = order(row);
    yield { index, weights: dequantize(type, raw.subarray(index * rowBytes, (index + 1) * rowBytes), inputs) };
  }
}

/** Adds row `n` of s B A [out, in] to `row` [in], or to the trained row that replaces it; with DoRA scales the sum. */
export function mergeRow(row: Float64Array, n: number, change: WeightChange): void {
  const { r, scaling, a, b, magnitude, rows } = change;
  const inputs = row.length;
  const own = rows?.get(n);
  if (own !== undefined) row.set(own);
  for (let rank = 0; rank < r; rank++) {
    const weight = scaling * b[n * r + rank]!;
    if (weight === 0) continue;
    const at = rank * inputs;
    for (let i = 0; i < inputs; i++) row[i]! += weight * a[at + i]!;
  }
  if (magnitude === null) return;
  let squares = 0;
  for (let i = 0; i < inputs; i++) squares += row[i]! * row[i]!;
  const gain = magnitude[n]! / Math.sqrt(squares);
  for (let i = 0; i < inputs; i++) row[i]! *= gain;
}

function encode(name: string, type: FloatType, values: Float64Array): Uint8Array {
  try {
    return encodeFloats(type, values);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `A merged weight of ${name} is beyond the range of ${type}; ask for BF16 or F32.`;
    throw new LorikeetError('adapter_unsupported', { message, param: 'dtype', cause: error });
  }
}
