// A lowered model whose linears are floats of the same values: what its quantised operators must agree with.

import type { LoweredModel } from '../../src/graph/lowered.ts';
import { linearValues } from './linear-values.ts';

export function floatCopy(model: LoweredModel): LoweredModel {
  const linears = new Map(
    [...model.linears].map(([name, form]) => [name, { ...form, bits: 32, corrected: false } as const]),
  );
  const weights = new Map([...model.weights].filter(([name]) => !/\.(blocks|scales|minimums)$/.test(name)));
  for (const [name, { n, k }] of linears) {
    const rows = linearValues(model, name);
    const data = new Float32Array(n * k);
    for (let row = 0; row < n; row++) for (let i = 0; i < k; i++) data[i * n + row] = rows[row * k + i]!;
    weights.set(`${name}.matrix`, { type: 'float32', shape: [k, n], data });
    if (name === 'head' && !weights.has('embedding')) {
      weights.set('embedding', { type: 'float32', shape: [n, k], data: rows as Float32Array<ArrayBuffer> });
    }
  }
  return { ...model, linears, weights };
}
