// A linear of a lowered model as floats [n, k], by the formula of its form.

import { rowReader } from '../../src/graph/dequantize-row.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';

type Linears = Pick<LoweredModel, 'linears' | 'weights'>;

export function linearValues(model: Linears, name: string): Float32Array {
  const { n, k } = model.linears.get(name)!;
  const values = new Float32Array(n * k);
  const read = rowReader(model, name);
  for (let row = 0; row < n; row++) read(row, values.subarray(row * k, (row + 1) * k));
  return values;
}
