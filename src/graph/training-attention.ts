// Causal attention within segments, forward and backward. Knows nothing of the linears around it. What comes from them
// are products, and what goes to them are operands.
//
//     S = scale * Q Kᵀ, soft-capped where the model caps scores,  P = softmax(S + mask),  O = P V
//     dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P * (dP - rowsum(dO * O)), back through the cap,  dQ = scale * dS K,
//     dK = scale * dSᵀ Q
//
// Query heads of a group read the same keys. Their rows are stacked, [B, kvHeads, group * T, headDim], so that keys are
// never repeated, and the product itself sums their derivatives.

import type { LayerPlan } from '../core/layer-plan.ts';
import type { AttentionInputs, RotaryInputs } from './attention-inputs.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { backRmsNorm, type RmsNorm, rmsNorm } from './rms-norm.ts';
import { backSoftCap, softCap } from './soft-cap.ts';
import { keptFloats, type TrainingBuilder } from './training-builder.ts';
import { trainingNames } from './training-form.ts';
import { scaledProduct, stackedProduct } from './training-product.ts';

/** Rows as operands of products. */
type Head = { readonly rows: string; readonly norm: RmsNorm | null };

export type Attention = {
  readonly layer: number;
  readonly q: Head;
  readonly k: Head;
  readonly v: string;
  /** P [B, kvHeads, group * T, T] */
  readonly shares: string;
  /** tanh of the capped scores, in the shape of P; null without a cap. */
  readonly tanh: string | null;
  /** O [B, kvHeads, group * T, headDim], and the same as rows [R, heads * headDim]. */
  readonly byHead: string;
  readonly attended: string;
};

/** Attention of a layer over its rows q [R, heads * headDim], k and v [R, kvHeads * headDim]. */
export function attend(
  t: TrainingBuilder,
  inputs: AttentionInputs,
  layer: number,
  plan: LayerPlan,
  [q, k, v]: readonly [string, string, string],
): Attention {
  const { g, model } = t;
  const { heads, kvHeads, headDim } = model.shape;
  const rope = inputs.rope(plan.rope ?? 'none');
  const query = rotated(t, inputs, t.floats(q), { count: heads, weight: `layers.${layer}.q_norm`, rope });
  const key = rotated(t, inputs, t.floats(k), { count: kvHeads, weight: `layers.${layer}.k_norm`, rope });
  const value = byHead(g, inputs, v, kvHeads);
  const grouped = g.op('Reshape', [query.rows, g.integers('grouped', [0, kvHeads, -1, headDim])]);
  const alpha = { float: plan.scale };
  const scores = scaledProduct(t, [grouped, key.rows], { transB: 1, alpha });
  const { y: bounded, tanh } = softCap(g, scores, plan.softcap);
  const apart = g.op('Reshape', [bounded, g.integers('heads_apart', [0, heads, -1, 0])]);
  const softmax = g.op('Softmax', [g.op('Add', [apart, inputs.mask(plan.window)])], { axis: -1 });
  const shares = t.operand(g.op('Reshape', [softmax, g.integers('heads_grouped', [0, kvHeads, -1, 0])]));
  const output = g.op('MatMul', [shares, value]);
  const attended = asRows(g, output, heads, headDim);
  return {
    layer,
    q: { ...query, rows: grouped },
    k: key,
    v: value,
    ...{ shares, tanh },
    byHead: output,
    attended,
  };
}

/** Derivatives by the rows q, k and v from that by the attended rows. */
export function backAttend(
  t: TrainingBuilder,
  inputs: AttentionInputs,
  plan: LayerPlan,
  { q, k, v, shares, tanh, byHead: output }: Attention,
  dAttended: string,
): [dq: string, dk: string, dv: string] {
  const { g, model } = t;
  const { heads, kvHeads, headDim } = model.shape;
  const alpha = { float: plan.scale };
  const rope = inputs.rope(plan.rope ?? 'none');
  const apart = byHead(g, inputs, dAttended, heads);
  const dOutput = g.op('Reshape', [apart, g.integers('grouped', [0, kvHeads, -1, headDim])]);
  const dv = stackedProduct(t, [shares, dOutput], { transA: 1 });
  const dShares = t.floats(stackedProduct(t, [dOutput, v], { transB: 1 }));
  const products = g.op('Mul', [t.floats(dOutput), keptFloats(t, output, [dOutput])]);
  const rowSums = g.op('ReduceSum', [products, g.integers('last', [-1])], { keepdims: 1 });
  const dBounded = g.op('Mul', [keptFloats(t, shares, [dShares]), g.op('Sub', [dShares, rowSums])]);
  const dScores = t.operand(backSoftCap(g, tanh, dBounded));
  const dq = scaledProduct(t, [dScores, k.rows], { alpha });
  const dk = scaledProduct(t, [dScores, q.rows], { transA: 1, alpha });
  const ungrouped = g.op('Reshape', [dq, g.integers('ungrouped', [0, heads, -1, headDim])]);
  return [
    t.operand(backRotated(t, rope, q, ungrouped, heads)),
    t.operand(backRotated(t, rope, k, dk, kvHeads)),
    asRows(g, dv, kvHeads, headDim),
  ];
}

/** float32 [R, count * headDim] -> rotated [B, count, T, headDim]; normed before where the model norms heads. */
function rotated(
  t: TrainingBuilder,
  inputs: AttentionInputs,
  rows: string,
  { count, weight, rope }: { count: number; weight: string; rope: RotaryInputs },
): Head {
  const { g, model, own } = t;
  const { rmsNormEps } = model.shape;
  const split = byHead(g, inputs, rows, count);
  const norm = model.weights.has(weight) ? rmsNorm(t, split, own(weight), rmsNormEps) : null;
  return { rows: t.operand(rotate(t, norm === null ? split : norm.y, count, rope)), norm };
}

function backRotated(
  t: TrainingBuilder,
  { cos, minusSin: sin }: RotaryInputs,
  { norm }: Head,
  dRows: string,
  count: number,
): string {
  const { g, model } = t;
  const back = rotate(t, dRows, count, { cos, sin });
  return asRows(g, norm === null ? back : backRmsNorm(t, norm, back), count, model.shape.headDim);
}

/** x [B, count, T, headDim] */
function rotate(
  { g, model }: TrainingBuilder,
  x: string,
  count: number,
  { cos, sin }: Pick<RotaryInputs, 'cos' | 'sin'>,
): string {
  const { ropeDims } = model.shape;
  // Only the first `ropeDims` numbers of each head rotate.
  const attributes = ropeDims === undefined ? {} : { rotary_embedding_dim: ropeDims, num_heads: count };
  return g.contrib('RotaryEmbedding', [x, trainingNames.positions, cos, sin], attributes)[0]!;
}

/** [R, count * headDim] -> [B, count, T, headDim] */
function byHead(g: GraphBuilder, { shapeByHead }: AttentionInputs, rows: string, count: number): string {
  return g.op('Transpose', [g.op('Reshape', [rows, shapeByHead(count)])], { perm: [0, 2, 1, 3] });
}

/** [B, ..., headDim] with `count` heads in all -> [R, count * headDim] */
function asRows(g: GraphBuilder, x: string, count: number, dim: number): string {
  const apart = g.op('Reshape', [x, g.integers(`apart_${count}`, [0, count, -1, dim])]);
  const byToken = g.op('Transpose', [apart], { perm: [0, 2, 1, 3] });
  return g.op('Reshape', [byToken, g.integers(`joined_${count * dim}`, [-1, count * dim])]);
}
