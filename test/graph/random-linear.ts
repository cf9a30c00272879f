// A lowered linear of random weights, in the native packing.

import { isFloats, type LinearForm, type LoweredTensor } from '../../src/graph/lowered.ts';
import {
  createCodedRow,
  createPackedFloats,
  type PackedForm,
  packedBytes,
  packedFloatTensor,
  packedRows,
  packedTensor,
  writeFloats,
} from '../../src/graph/packed.ts';

/** @param scale largest scale; minimums and floats are within half of 1 */
export function randomLinear(
  name: string,
  form: LinearForm,
  random: () => number,
  scale = 0.5,
): Map<string, LoweredTensor> {
  const { bits, n, k, corrected, halves, bias } = form;
  const weights = new Map<string, LoweredTensor>();
  const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5);
  if (bias) weights.set(`${name}.bias`, { type: 'float32', shape: [n], data: floats(n) });
  if (isFloats(bits)) {
    const data = createPackedFloats(bits, n, k);
    for (let row = 0; row < n; row++) writeFloats(data, k, row, floats(k));
    return weights.set(`${name}.packed`, packedFloatTensor(n, k, data));
  }
  const data = new Uint8Array(packedBytes(form as PackedForm));
  const rows = packedRows(form as PackedForm, data);
  const rounded = (value: number) => (halves ? Math.f16round(value) : Math.fround(value));
  const coded = createCodedRow(k);
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < k; i++) coded.codes[i] = Math.floor(random() * 2 ** bits);
    for (let block = 0; block < k / 32; block++) {
      coded.scales[block] = rounded((2 * random() - 1) * scale);
      if (corrected) coded.minimums[block] = rounded(random() - 0.5);
    }
    rows.write(row, coded);
  }
  return weights.set(`${name}.packed`, packedTensor(data));
}
