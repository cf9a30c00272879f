// One row of a lowered linear as floats: what the operators multiply with, taken apart again.

import type { LoweredModel } from './lowered.ts';
import { blockSize } from './quantized.ts';

/** Writes row `n` [k] of the linear `name` into `row`. */
export function dequantizeRow({ linears, weights }: LoweredModel, name: string, n: number, row: Float32Array): void {
  const form = linears.get(name)!;
  const { bits, k } = form;
  const data = (part: string) => weights.get(`${name}.${part}`)!.data;
  if (bits === 32) {
    const matrix = data('matrix');
    for (let i = 0; i < k; i++) row[i] = matrix[i * form.n + n]!;
    return;
  }
  const blocks = k / blockSize;
  const codes = data('blocks');
  const scales = data('scales');
  const minimums = form.corrected ? data('minimums') : null;
  for (let block = 0; block < blocks; block++) {
    const scale = scales[n * blocks + block]!;
    const minimum = minimums === null ? 0 : minimums[block * form.n + n]!;
    for (let i = block * blockSize; i < (block + 1) * blockSize; i++) {
      const at = n * k + i;
      const code = bits === 8 ? codes[at]! - 128 : ((codes[at >> 1]! >> ((at & 1) * 4)) & 15) - 8;
      row[i] = scale * code + minimum;
    }
  }
}
