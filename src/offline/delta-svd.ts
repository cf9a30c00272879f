// Singular values and directions of a pair's update ΔW = s B A [out, in], from the thin factors alone: with B = Q_b R_b
// and Aᵀ = Q_a R_a the update is Q_b (s R_b R_aᵀ) Q_aᵀ, whose middle is r x r. ΔW itself is never computed.

import { jacobiSvd, type Svd } from './jacobi-svd.ts';
import type { PairValues } from './read-adapter.ts';
import { type Columns, thinQr } from './thin-qr.ts';

/** Gives as many directions as ΔW's numerical rank: u [out], v [in], s descending and above zero. */
export function deltaSvd({ r, scaling, a, b }: Pick<PairValues, 'r' | 'scaling' | 'a' | 'b'>): Svd {
  const inputs = a.length / r;
  const outputs = b.length / r;
  const left = thinQr(Array.from({ length: r }, (_, rank) => stridedColumn(b, rank, r, outputs)));
  const right = thinQr(Array.from({ length: r }, (_, rank) => stridedColumn(a, rank * inputs, 1, inputs)));
  const scaled = right.r.map((column) => column.map((value) => scaling * value));
  const core = svdOfProduct(left.r, scaled);
  // The threshold that numpy and Matlab use for a rank.
  const smallest = (core.s[0] ?? 0) * Math.max(inputs, outputs) * 2 ** -52;
  const rank = core.s.filter((value) => value > smallest).length;
  return {
    u: core.u.slice(0, rank).map((column) => combine(left.q, column)),
    s: core.s.slice(0, rank),
    v: core.v.slice(0, rank).map((column) => combine(right.q, column)),
  };
}

function stridedColumn(values: Float32Array, start: number, stride: number, length: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => values[start + i * stride]!);
}

/** Decomposes X Yᵀ. X [m, r] and Y [n, r] are lists of columns. */
function svdOfProduct(x: Columns, y: Columns): Svd {
  if (x[0]!.length < y[0]!.length) {
    const { u, s, v } = svdOfProduct(y, x);
    return { u: v, s, v: u };
  }
  const columns = Array.from({ length: y[0]!.length }, (_, n) =>
    combine(
      x,
      Float64Array.from(y, (column) => column[n]!),
    ),
  );
  return jacobiSvd(columns);
}

/** Σ weights[i] · columns[i] */
function combine(columns: Columns, weights: Float64Array): Float64Array {
  const sum = new Float64Array(columns[0]!.length);
  for (const [at, column] of columns.entries()) {
    const weight = weights[at]!;
    if (weight === 0) continue;
    for (let i = 0; i < sum.length; i++) sum[i]! += weight * column[i]!;
  }
  return sum;
}
