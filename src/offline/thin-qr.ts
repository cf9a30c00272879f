// The thin QR factorisation of a tall matrix by Householder reflections (Golub and Van Loan, Matrix Computations, 5.2),
// which keep Q orthogonal to the last bits even for nearly parallel columns. Matrices are lists of columns.

/** Columns of equal length, each [rows]. */
export type Columns = readonly Float64Array[];

export type ThinQr = {
  /** k = min(rows, columns) orthonormal columns [rows]. */
  readonly q: Columns;
  /** As many columns [k] as the matrix has, upper triangular. */
  readonly r: Columns;
};

/** Factorises matrix = Q R, without changing the matrix. */
export function thinQr(matrix: Columns): ThinQr {
  const rows = matrix[0]!.length;
  const k = Math.min(rows, matrix.length);
  const work = matrix.map((column) => column.slice());
  /** Vectors v of the reflections I - 2 v vᵀ, each zero before its own index. */
  const reflections = Array.from({ length: k }, (_, at) => {
    const v = reflection(work[at]!, at);
    for (const column of work.slice(at)) reflect(v, at, column);
    return v;
  });
  const q = Array.from({ length: k }, (_, at) => {
    const column = new Float64Array(rows);
    column[at] = 1;
    // Later reflections do not change this unit vector.
    for (let i = at; i >= 0; i--) reflect(reflections[i]!, i, column);
    return column;
  });
  const r = work.map((column, at) => column.slice(0, k).fill(0, Math.min(at + 1, k)));
  return { q, r };
}

/** Gives the unit vector that reflects the column onto its entry at `at`; zero where there is nothing to reflect. */
function reflection(column: Float64Array, at: number): Float64Array {
  const v = new Float64Array(column.length);
  v.set(column.subarray(at), at);
  const length = Math.sqrt(dot(v, v, at));
  if (length === 0) return v;
  // The sign is the column's own, so that nothing cancels.
  v[at]! += column[at]! < 0 ? -length : length;
  const scale = 1 / Math.sqrt(dot(v, v, at));
  for (let i = at; i < v.length; i++) v[i]! *= scale;
  return v;
}

function reflect(v: Float64Array, from: number, column: Float64Array): void {
  const twice = 2 * dot(v, column, from);
  if (twice === 0) return;
  for (let i = from; i < v.length; i++) column[i]! -= twice * v[i]!;
}

/** Multiplies the entries from `from` on. */
export function dot(a: Float64Array, b: Float64Array, from = 0): number {
  // Two sums let one addition start before the other is done.
  let [even, odd] = [0, 0];
  let i = from;
  for (; i + 1 < a.length; i += 2) {
    even += a[i]! * b[i]!;
    odd += a[i + 1]! * b[i + 1]!;
  }
  if (i < a.length) even += a[i]! * b[i]!;
  return even + odd;
}
