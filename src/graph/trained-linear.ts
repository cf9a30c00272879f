// One joined linear of a layer with the trained pairs beside it, forward and backward. Rows are operands and results of
// products; A, B and their derivatives are float32.
//
//     y = x Wᵀ + scaling * drop(x) Aᵀ Bᵀ            x [R, in], A [r, in], B [out, r]
//     dB = dyᵀ (scaling * drop(x) Aᵀ)               u = scaling * drop(x) Aᵀ [R, r] is kept
//     dA = duᵀ drop(x),  du = scaling * dy B
//     dx = dy W + drop(du A)

import { fusedModuleOf } from '../core/adapter.ts';
import { type JoinedLinear, joinedLinears, loweredName } from './adapted-linear.ts';
import { dropoutStart } from './dropout.ts';
import { frozenLinear } from './frozen-linear.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { after, type Target, type TrainingBuilder } from './training-builder.ts';
import { trainingNames } from './training-form.ts';
import { product } from './training-product.ts';

export type TrainedLinear = {
  readonly layer: number;
  readonly linear: JoinedLinear;
  /** [R, out] of each part of the joined linear. */
  readonly outputs: readonly string[];
  /** u of each part, or a single one for all parts; null where a part is not trained. */
  readonly inner: readonly (string | null)[];
};

/**
 * A single target where one pair covers the joint rows of all parts; otherwise one for each part, null where it is not
 * trained.
 */
function targetsOf({ target }: TrainingBuilder, layer: number, joined: JoinedLinear): readonly (Target | null)[] {
  const parts = joinedLinears[joined];
  const fused = fusedModuleOf(parts[0]);
  const whole = fused && target(layer, fused);
  return whole ? [whole] : parts.map((module) => target(layer, module));
}

export function applyTrained(
  t: TrainingBuilder,
  layer: number,
  joined: JoinedLinear,
  outs: readonly number[],
  x: string,
): TrainedLinear {
  const { g } = t;
  const targets = targetsOf(t, layer, joined);
  const isWhole = targets.length < outs.length;
  const parted = (rows: string) =>
    outs.length === 1 ? [rows] : g.split(rows, g.integers(`widths_${joined}`, outs), outs.length);
  const joint = frozenLinear(t, loweredName(layer, joined)).product(x);
  const base = isWhole ? [joint] : parted(joint);
  const inner = targets.map((target) => {
    if (target === null) return null;
    const changes = { transB: 1, alpha: { float: target.scaling } } as const;
    return product(t, [dropped(t, target, x), t.operand(trainingNames.a(layer, target.module))], changes);
  });
  const changed = targets.map((target, i) => {
    if (target === null) return base[i]!;
    return g.op('Gemm', [inner[i]!, t.operand(trainingNames.b(layer, target.module)), base[i]!], { transB: 1 });
  });
  return { layer, linear: joined, outputs: isWhole ? parted(changed[0]!) : changed, inner };
}

/**
 * Derivatives from those of the outputs: of the pairs, as outputs of the graph, and by x, null where nothing below is
 * trained. `x` makes the input again, not before `dOutputs`, and is called only where a pair needs it.
 */
export function backTrained(
  t: TrainingBuilder,
  { layer, linear: joined, inner }: TrainedLinear,
  dOutputs: readonly string[],
  x: () => string,
): string | null {
  const { g, model } = t;
  const name = loweredName(layer, joined);
  const { k } = model.linears.get(name)!;
  const trained = targetsOf(t, layer, joined);
  const isWhole = trained.length < dOutputs.length;
  const below = t.reachesBelow(layer, joined);
  const joint = dOutputs.length > 1 && (below || isWhole) ? g.op('Concat', dOutputs, { axis: -1 }) : dOutputs[0]!;
  let dx = below ? frozenLinear(t, name).grad(joint) : null;
  const input = trained.some((target) => target) ? x() : '';
  const gradients: string[] = [];
  for (const [i, target] of trained.entries()) {
    if (target === null) continue;
    const dy = isWhole ? joint : dOutputs[i]!;
    const { module } = target;
    const gradB = derivativeOfB(t, inner[i]!, dy, trainingNames.gradB(layer, module));
    const alpha = { float: target.scaling };
    const du = product(t, [dy, t.operand(trainingNames.b(layer, module))], { alpha });
    const read = dropped(t, target, input);
    const gradA = trainingNames.gradA(layer, module);
    product(t, [du, read], { transA: 1 }, gradA);
    gradients.push(gradA, gradB);
    if (dx !== null) dx = addThroughPair(t, target, du, dx);
  }
  addGradientOutputs(t, layer, joined);
  return dx === null || gradients.length === 0 ? dx : after(t, dx, [-1, k], gradients, t.precision);
}

/** dyᵀ u. The host's product is of the few columns of u turned, which keeps its threads busy. */
function derivativeOfB(t: TrainingBuilder, u: string, dy: string, result: string): string {
  if (t.on === 'device') return product(t, [dy, u], { transA: 1 }, result);
  return t.g.op('Transpose', [product(t, [u, dy], { transA: 1 })], { perm: [1, 0] }, result);
}

function addThroughPair(t: TrainingBuilder, target: Target, du: string, dx: string): string {
  const { g, form } = t;
  const a = t.operand(trainingNames.a(target.layer, target.module));
  if (!form.dropout) return g.op('Gemm', [du, a, dx]);
  return t.operand(g.op('Add', [t.floats(dx), masked(t, target, g.op('MatMul', [du, a]))]));
}

function addGradientOutputs(t: TrainingBuilder, layer: number, joined: JoinedLinear): void {
  const { g, model } = t;
  const { k } = model.linears.get(loweredName(layer, joined))!;
  for (const target of targetsOf(t, layer, joined)) {
    if (target === null) continue;
    const { module, r } = target;
    g.output(trainingNames.gradA(layer, module), 'float32', [r, k]);
    g.output(trainingNames.gradB(layer, module), 'float32', [`out.${layer}.${module}`, r]);
  }
}

/** x [R, in] multiplied by the target's mask. */
const dropped = (t: TrainingBuilder, target: Target, x: string): string =>
  t.form.dropout ? t.operand(masked(t, target, x)) : x;

/** The same in float32. */
function masked(t: TrainingBuilder, { index }: Target, x: string): string {
  const { g, on } = t;
  const start = g.integers(`dropout_start_${index}`, [dropoutStart(index)]);
  const mask = on === 'host' ? maskFrom(g, start, x) : deviceMaskFrom(g, start, x);
  return g.op('Mul', [t.floats(x), g.op('Reshape', [mask, g.op('Shape', [x])])]);
}

/** Takes as many values of the masks as x has. */
function maskFrom(g: GraphBuilder, start: string, x: string): string {
  const end = g.op('Add', [start, g.op('Size', [x])]);
  return g.op('Slice', [trainingNames.dropout, start, end]);
}

/** On a device the end of a slice may be a shape but not a sum. */
function deviceMaskFrom(g: GraphBuilder, start: string, x: string): string {
  const rest = g.op('Slice', [trainingNames.dropout, start, g.integers('to_the_end', [2 ** 31 - 1])]);
  const length = g.op('Shape', [g.op('Reshape', [x, g.integers('flat', [-1])])]);
  return g.op('Slice', [rest, g.integers('at_0', [0]), length]);
}
