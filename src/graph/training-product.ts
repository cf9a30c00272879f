// Matrix products of a training graph, whose operands have its precision. On the host one operator transposes and
// scales its operands. WebGPU lacks it: there Gemm does so for two matrices, and for stacks of matrices those that are
// transposed are copied.

import type { TrainingBuilder } from './training-builder.ts';

type Changes = {
  readonly transA?: 0 | 1;
  readonly transB?: 0 | 1;
};
/** Factor of the product. */
type Scale = { readonly alpha?: { readonly float: number } };

/** a · b, each [rows, columns]. `result` names it in float32. */
export function product(
  t: TrainingBuilder,
  [a, b]: readonly [string, string],
  changes: Changes & Scale,
  result?: string,
): string {
  const { g, on, precision } = t;
  if (on === 'host') return g.contrib('FusedMatMul', [a, b], changes, [result ?? null])[0]!;
  if (precision === 'float32' || result === undefined) return g.op('Gemm', [a, b], changes, result);
  return t.floats(g.op('Gemm', [a, b], changes), result);
}

/** As `product`, for each pair in two stacks [B, heads, rows, columns]. */
export function stackedProduct(
  { g, on }: TrainingBuilder,
  [a, b]: readonly [string, string],
  changes: Changes,
): string {
  if (on === 'host') return g.contrib('FusedMatMul', [a, b], changes)[0]!;
  const { transA, transB } = changes;
  const turned = (x: string, isTurned: 0 | 1 = 0) => (isTurned ? g.op('Transpose', [x], { perm: [0, 1, 3, 2] }) : x);
  return g.op('MatMul', [turned(a, transA), turned(b, transB)]);
}

/** In float32, times `alpha`. */
export function scaledProduct(
  t: TrainingBuilder,
  [a, b]: readonly [string, string],
  changes: Changes & Required<Scale>,
): string {
  const { g, on } = t;
  if (on === 'host') return g.contrib('FusedMatMul', [a, b], changes)[0]!;
  const { float } = changes.alpha;
  return g.op('Mul', [t.floats(stackedProduct(t, [a, b], changes)), g.float(`times_${float}`, float)]);
}
