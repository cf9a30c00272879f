// Singular value decomposition of a small dense matrix by one-sided Jacobi rotations (Hestenes 1958; Demmel and Veselić
// 1992). Pairs of columns are rotated until all are orthogonal, and their lengths are then the singular values. Small
// values are as exact as large ones. Knows no adapters.

import { type Columns, dot } from './thin-qr.ts';

/** matrix = U diag(s) Vᵀ. `s` descends; u[i] and v[i] belong to s[i]. */
export type Svd = { readonly u: Columns; readonly s: Float64Array; readonly v: Columns };

const epsilon = 2 ** -52;
/** Ten suffice for matrices of rank 1024; a matrix that needs more contains a NaN. */
const sweepsMax = 40;

/** Decomposes a matrix with at least as many rows as columns. Where s[i] is zero, u[i] is zero. */
export function jacobiSvd(matrix: Columns): Svd {
  const size = matrix.length;
  const work = matrix.map((column) => column.slice());
  const turns = Array.from({ length: size }, (_, at) => {
    const column = new Float64Array(size);
    column[at] = 1;
    return column;
  });
  const total = Math.sqrt(work.reduce((sum, column) => sum + dot(column, column), 0));
  /** Length below which a column is only rounding, and has no direction. */
  const nothing = total * epsilon * epsilon;
  for (let sweep = 0; turnPairs(work, turns, nothing) > 0; sweep++) {
    if (sweep === sweepsMax) throw new Error(`no singular values after ${sweepsMax} sweeps`);
  }
  const lengths = work.map((column) => Math.sqrt(dot(column, column)));
  const order = lengths.map((_, at) => at).sort((a, b) => lengths[b]! - lengths[a]!);
  return {
    u: order.map((at) => work[at]!.map((value) => (lengths[at]! > nothing ? value / lengths[at]! : 0))),
    s: Float64Array.from(order, (at) => lengths[at]!),
    v: order.map((at) => turns[at]!),
  };
}

/**
 * Runs one sweep: rotates each pair of columns that is not orthogonal, and `turns` with it. @returns the number of
 * rotated pairs
 */
function turnPairs(work: Columns, turns: Columns, nothing: number): number {
  let turned = 0;
  const size = work.length;
  for (let p = 0; p < size - 1; p++) {
    for (let q = p + 1; q < size; q++) {
      const [pp, qq, pq] = [dot(work[p]!, work[p]!), dot(work[q]!, work[q]!), dot(work[p]!, work[q]!)];
      const small = Math.sqrt(pp) <= nothing || Math.sqrt(qq) <= nothing;
      if (small || !(Math.abs(pq) > size * epsilon * Math.sqrt(pp) * Math.sqrt(qq))) continue;
      turned++;
      // The smaller one of the two angles that make the columns orthogonal.
      const zeta = (qq - pp) / (2 * pq);
      const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
      const cosine = 1 / Math.hypot(1, tangent);
      rotate(work[p]!, work[q]!, cosine, cosine * tangent);
      rotate(turns[p]!, turns[q]!, cosine, cosine * tangent);
    }
  }
  return turned;
}

function rotate(a: Float64Array, b: Float64Array, cosine: number, sine: number): void {
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    a[i] = cosine * x - sine * y;
    b[i] = sine * x + cosine * y;
  }
}
