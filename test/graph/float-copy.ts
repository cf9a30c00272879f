// A lowered model whose linears are floats with the same values, with which its quantised operators must agree.

import type { LoweredModel } from '../../src/graph/lowered.ts';
import { createPackedFloats, packedFloatTensor, writeFloats } from '../../src/graph/packed.ts';
import { linearValues } from './linear-values.ts';

export function floatCopy(model: LoweredModel): LoweredModel {
  const linears = new Map(
    [...model.linears].map(([name, form]) => [name, { ...form, bits: 32, corrected: false, halves: false } as const]),
  );
  const weights = new Map(model.weights);
  for (const [name, { n, k }] of linears) {
    const rows = linearValues(model, name);
    const data = createPackedFloats(32, n, k);
    for (let row = 0; row < n; row++) writeFloats(data, k, row, rows.subarray(row * k, (row + 1) * k));
    weights.set(`${name}.packed`, packedFloatTensor(n, k, data));
    if (name === 'head' && !weights.has('embedding')) {
      weights.set('embedding', { type: 'float32', shape: [n, k], data: rows as Float32Array<ArrayBuffer> });
    }
  }
  return { ...model, linears, weights };
}
