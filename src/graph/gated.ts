// activation(gate) * up, by ONNX Runtime's operators.

import type { LayerPlan } from '../core/layer-plan.ts';
import type { GraphBuilder } from './graph-builder.ts';

export type Activation = LayerPlan['activation'];

/** Each is one operator; QuickGelu with alpha 1 is SiLU. */
export function gated(g: GraphBuilder, activation: Activation, gate: string, up: string): string {
  const [activated] =
    activation === 'gelu' ? g.contrib('FastGelu', [gate], {}) : g.contrib('QuickGelu', [gate], { alpha: { float: 1 } });
  return g.op('Mul', [activated!, up]);
}
