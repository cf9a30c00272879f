// The gated MLP between a layer's two linears, forward and backward.
//
//     a = gate * s,  s = sigmoid(v);  h = a * up
//     dup = dh * a,  dgate = dh * up * s * (1 + (gate - a) * v')
//
// SiLU is v = gate. GELU's tanh form is v = c gate + d gate³, c = sqrt(8 / pi), d = 0.044715 c.

import type { Activation } from './gated.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { after, type TrainingBuilder } from './training-builder.ts';

const c = Math.sqrt(8 / Math.PI);
const d = 0.044715 * c;

/** Derivatives by gate and up. `gate` and `up` [R, width] are the inputs of the forward pass. */
export function backGated(
  t: TrainingBuilder,
  kept: { activation: Activation; gate: string; up: string; width: number },
  dh: string,
): { dGate: string; dUp: string } {
  const { g } = t;
  // To wait costs nothing there; a device would copy.
  const gate = t.on === 'host' ? after(t, kept.gate, [-1, kept.width], [dh]) : kept.gate;
  const { v, slope: ofV } = kept.activation === 'gelu' ? geluArgument(g, gate) : { v: gate, slope: null };
  const sigmoid = g.op('Sigmoid', [v]);
  const activated = g.op('Mul', [gate, sigmoid]);
  const rest = g.op('Sub', [gate, activated]);
  const grown = ofV === null ? rest : g.op('Mul', [rest, ofV]);
  const slope = g.op('Mul', [sigmoid, g.op('Add', [grown, g.float('one', 1)])]);
  return { dGate: g.op('Mul', [g.op('Mul', [dh, kept.up]), slope]), dUp: g.op('Mul', [dh, activated]) };
}

/** v and its derivative v'. */
function geluArgument(g: GraphBuilder, gate: string): { v: string; slope: string } {
  const square = g.op('Mul', [gate, gate]);
  const factor = g.op('Add', [g.op('Mul', [square, g.float('gelu_d', d)]), g.float('gelu_c', c)]);
  const slope = g.op('Add', [g.op('Mul', [square, g.float('gelu_3d', 3 * d)]), g.float('gelu_c', c)]);
  return { v: g.op('Mul', [gate, factor]), slope };
}
