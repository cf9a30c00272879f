// Measures how much of a weight lies along given directions: ‖Uᵀ W V‖_F, in one pass over the rows of W.

import type { RawTensor } from '../core/base-model.ts';
import { rowsOf } from './merged-weight.ts';
import type { Columns } from './thin-qr.ts';

/**
 * @param u directions [out], as many as `v`
 * @param v directions [in]
 */
export function normAlong(weight: RawTensor, u: Columns, v: Columns): number {
  const size = v.length;
  // Four products are computed in one pass over a row.
  const padded = Math.ceil(size / 4) * 4;
  const zero = new Float64Array(weight.shape[1]!);
  const directions = Array.from({ length: padded }, (_, at) => v[at] ?? zero);
  const along = new Float64Array(padded);
  const product = u.map(() => new Float64Array(padded));
  for (const { index, weights } of rowsOf(weight)) {
    for (let at = 0; at < padded; at += 4) fourDots(weights, directions, at, along);
    for (let i = 0; i < size; i++) {
      const factor = u[i]![index]!;
      const sums = product[i]!;
      for (let at = 0; at < size; at++) sums[at]! += factor * along[at]!;
    }
  }
  return Math.sqrt(product.reduce((sum, row) => row.reduce((squares, value) => squares + value * value, sum), 0));
}

function fourDots(row: Float32Array, directions: Columns, at: number, out: Float64Array): void {
  const [a, b, c, d] = [directions[at]!, directions[at + 1]!, directions[at + 2]!, directions[at + 3]!];
  let [sumA, sumB, sumC, sumD] = [0, 0, 0, 0];
  for (let i = 0; i < row.length; i++) {
    const value = row[i]!;
    sumA += value * a[i]!;
    sumB += value * b[i]!;
    sumC += value * c[i]!;
    sumD += value * d[i]!;
  }
  out[at] = sumA;
  out[at + 1] = sumB;
  out[at + 2] = sumC;
  out[at + 3] = sumD;
}
