// The gated MLP of a layer between its two linears, forward and backward.
//
//     a = silu(gate) = gate * s,  s = sigmoid(gate);  h = a * up
//     dup = dh * a,  dgate = dh * up * s * (1 + gate - a)

import type { GraphBuilder } from './graph-builder.ts';
import { after, type TrainingBuilder } from './training-builder.ts';

export function gatedSilu(g: GraphBuilder, gate: string, up: string): string {
  return g.op('Mul', [silu(g, gate), up]);
}

/** `gate` and `up` [R, width] are what the forward pass read. */
export function backGatedSilu(
  t: TrainingBuilder,
  kept: { gate: string; up: string; width: number },
  dh: string,
): { dGate: string; dUp: string } {
  const { g } = t;
  const gate = after(t, kept.gate, [-1, kept.width], [dh]);
  const sigmoid = g.op('Sigmoid', [gate]);
  const activated = g.op('Mul', [gate, sigmoid]);
  const slope = g.op('Mul', [sigmoid, g.op('Add', [g.op('Sub', [gate, activated]), g.float('one', 1)])]);
  return { dGate: g.op('Mul', [g.op('Mul', [dh, kept.up]), slope]), dUp: g.op('Mul', [dh, activated]) };
}

/** QuickGelu with alpha 1 is SiLU in one operator. */
function silu(g: GraphBuilder, x: string): string {
  return g.contrib('QuickGelu', [x], { alpha: { float: 1 } })[0]!;
}
