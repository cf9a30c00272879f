// Reads one row of a lowered linear as the floats with which the operators multiply.

import { isFloats, type LoweredModel } from './lowered.ts';
import { createCodedRow, type PackedForm, packedFloats, packedRows, readFloats } from './packed.ts';
import { blockSize, zeroOf } from './quantized.ts';

/** Writes a row of the linear into `values` [k]. Calls are cheap; making a reader is not. */
export type ReadRow = (row: number, values: Float32Array) => void;

export function rowReader({ linears, weights }: Pick<LoweredModel, 'linears' | 'weights'>, name: string): ReadRow {
  const form = linears.get(name)!;
  const { bits, k } = form;
  const packed = weights.get(`${name}.packed`)!;
  if (isFloats(bits)) {
    const floats = packedFloats(bits, packed);
    return (row, values) => readFloats(floats, k, row, values);
  }
  const rows = packedRows(form as PackedForm, packed.data as Uint8Array<ArrayBuffer>);
  const coded = createCodedRow(k);
  const { codes, scales, minimums } = coded;
  const zero = zeroOf(bits);
  return (row, values) => {
    rows.read(row, coded);
    for (let i = 0; i < k; i++) {
      const block = Math.floor(i / blockSize);
      values[i] = scales[block]! * (codes[i]! - zero) + minimums[block]!;
    }
  };
}

/** Reads rows of the embedding: its own floats, or those of the head that it is tied to. */
export function embeddingReader(model: Pick<LoweredModel, 'linears' | 'weights'>): ReadRow {
  const floats = model.weights.get('embedding')?.data as Float32Array<ArrayBuffer> | undefined;
  if (floats === undefined) return rowReader(model, 'head');
  return (row, values) => values.set(floats.subarray(row * values.length, (row + 1) * values.length));
}
