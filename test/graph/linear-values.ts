// A linear of a lowered model back as floats [n, k], by the formula that its form states.

import type { LoweredModel } from '../../src/graph/lowered.ts';

type Linears = Pick<LoweredModel, 'linears' | 'weights'>;

export function linearValues({ linears, weights }: Linears, name: string): Float32Array {
  const { bits, n, k, corrected } = linears.get(name)!;
  const values = new Float32Array(n * k);
  if (bits === 32) {
    const matrix = weights.get(`${name}.matrix`)!.data;
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < k; column++) values[row * k + column] = matrix[column * n + row]!;
    }
    return values;
  }
  const packed = weights.get(`${name}.blocks`)!.data;
  const scales = weights.get(`${name}.scales`)!.data;
  const minimums = corrected ? weights.get(`${name}.minimums`)!.data : null;
  for (let i = 0; i < values.length; i++) {
    const code = bits === 8 ? packed[i]! - 128 : ((packed[i >> 1]! >> (4 * (i & 1))) & 15) - 8;
    const [row, block] = [Math.floor(i / k), Math.floor((i % k) / 32)];
    values[i] = scales[i >> 5]! * code + (minimums?.[block * n + row] ?? 0);
  }
  return values;
}
