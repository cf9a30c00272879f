// Matrix products of a training graph. On the host one operator transposes and scales its operands. WebGPU lacks it:
// there Gemm does so for two matrices, and for stacks of matrices those that are transposed are copied.

import type { TrainingBuilder } from './training-builder.ts';

type Changes = {
  readonly transA?: 0 | 1;
  readonly transB?: 0 | 1;
  /** Factor of the product. */
  readonly alpha?: { readonly float: number };
};

/** a · b, each [rows, columns]. */
export function product(
  { g, on }: TrainingBuilder,
  [a, b]: readonly [string, string],
  changes: Changes,
  result?: string,
) {
  if (on === 'device') return g.op('Gemm', [a, b], changes, result);
  return g.contrib('FusedMatMul', [a, b], changes, [result ?? null])[0]!;
}

/** As `product`, for each pair in two stacks [B, heads, rows, columns]. */
export function stackedProduct(
  { g, on }: TrainingBuilder,
  [a, b]: readonly [string, string],
  changes: Changes,
): string {
  if (on === 'host') return g.contrib('FusedMatMul', [a, b], changes)[0]!;
  const { transA, transB, alpha } = changes;
  const turned = (x: string, isTurned: 0 | 1 = 0) => (isTurned ? g.op('Transpose', [x], { perm: [0, 1, 3, 2] }) : x);
  const products = g.op('MatMul', [turned(a, transA), turned(b, transB)]);
  return alpha ? g.op('Mul', [products, g.float(`times_${alpha.float}`, alpha.float)]) : products;
}
