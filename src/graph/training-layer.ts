// One layer of the decoder, forward with what its backward pass needs, and backward. Products are kept; everything
// between them is cheap and computed again.

import { linearSize } from '../core/adapter.ts';
import { dataTypes } from '../formats/onnx.ts';
import { type JoinedLinear, joinedLinears } from './adapted-linear.ts';
import type { AttentionInputs } from './attention-inputs.ts';
import { gated } from './gated.ts';
import { backRmsNorm, type RmsNorm, rmsNorm } from './rms-norm.ts';
import { applyTrained, backTrained, type TrainedLinear } from './trained-linear.ts';
import { type Attention, attend, backAttend } from './training-attention.ts';
import { after, keptFloats, type TrainingBuilder } from './training-builder.ts';
import { trainingNames } from './training-form.ts';
import { backGated } from './training-mlp.ts';

export type TrainedLayer = {
  readonly attentionNorm: RmsNorm;
  readonly qkv: TrainedLinear;
  readonly attention: Attention;
  readonly output: TrainedLinear;
  /** Norms of what the two halves add to the residual; null where the layer has none. */
  readonly outputNorm: RmsNorm | null;
  readonly downNorm: RmsNorm | null;
  readonly mlpNorm: RmsNorm;
  readonly gateUp: TrainedLinear;
  readonly down: TrainedLinear;
  /** The layer's result: [R, hidden], or [S, hidden] for the last layer. */
  readonly result: string;
};

export function applyLayer(t: TrainingBuilder, inputs: AttentionInputs, layer: number, x: string): TrainedLayer {
  const { g, model, own } = t;
  const { layers } = model.shape;
  const { epsilon, layers: plans } = t.plan;
  const plan = plans[layer]!;
  const normOf = ({ outputs: [y] }: TrainedLinear, name: string) =>
    plan.outputNorms ? rmsNorm(t, t.floats(y!), own(`layers.${layer}.${name}`), epsilon) : null;
  const project = (linear: JoinedLinear, input: string) => {
    const outs = joinedLinears[linear].map((module) => linearSize(model.shape, module).out);
    return applyTrained(t, layer, linear, outs, input);
  };
  const attentionNorm = rmsNorm(t, x, own(`layers.${layer}.attention_norm`), epsilon);
  const qkv = project('qkv', t.operand(attentionNorm.y));
  const attention = attend(t, inputs, layer, plan, qkv.outputs as [string, string, string]);
  const output = project('output', attention.attended);
  const outputNorm = normOf(output, 'output_norm');
  let between = g.op('Add', [x, outputNorm?.y ?? t.floats(output.outputs[0]!)]);
  // The other rows of the last layer are not read any more.
  if (layer === layers - 1) between = g.op('Gather', [between, trainingNames.sampled]);
  const mlpNorm = rmsNorm(t, between, own(`layers.${layer}.mlp_norm`), epsilon);
  const gateUp = project('gate_up', t.operand(mlpNorm.y));
  const [gate, up] = gateUp.outputs as [string, string];
  const down = project('down', t.operand(gated(g, plan.activation, t.floats(gate), t.floats(up))));
  const downNorm = normOf(down, 'down_norm');
  const result = g.op('Add', [between, downNorm?.y ?? t.floats(down.outputs[0]!)]);
  return { attentionNorm, qkv, attention, output, outputNorm, mlpNorm, gateUp, down, downNorm, result };
}

/** The derivative by the layer's input from that by its result; null where nothing below is trained. */
export function backLayer(
  t: TrainingBuilder,
  inputs: AttentionInputs,
  layer: number,
  kept: TrainedLayer,
  dResult: string,
): string | null {
  const { g, model } = t;
  const { hidden, intermediate, layers, heads, headDim } = model.shape;
  const { qkv, attention, output, outputNorm, gateUp, down, downNorm } = kept;
  const plan = t.plan.layers[layer]!;
  const { activation } = plan;
  const [gate, up] = gateUp.outputs as [string, string];

  const again = (norm: RmsNorm, first: readonly string[]) => rmsAgain(t, norm, hidden, first);
  const dDown = downNorm === null ? dResult : backRmsNorm(t, downNorm, dResult);
  const read = {
    gate: t.floats(after(t, gate, [-1, intermediate], [dDown], t.precision)),
    up: keptFloats(t, up, [dDown]),
  };
  const dHidden = backTrained(t, down, [t.operand(dDown)], () => t.operand(gated(g, activation, read.gate, read.up)));
  if (dHidden === null) return null;
  const { dGate, dUp } = backGated(t, { activation, ...read, width: intermediate }, t.floats(dHidden));
  const dParts = [t.operand(dGate), t.operand(dUp)];
  const dMlp = backTrained(t, gateUp, dParts, () => t.operand(again(kept.mlpNorm, dParts)));
  if (dMlp === null) return null;
  let dBetween = g.op('Add', [dResult, backRmsNorm(t, kept.mlpNorm, t.floats(dMlp))]);
  if (layer === layers - 1) dBetween = scatter(t, dBetween, kept.attentionNorm.x);

  const dOutput = outputNorm === null ? dBetween : backRmsNorm(t, outputNorm, dBetween);
  const dRows = t.operand(dOutput);
  const dAttended = backTrained(t, output, [dRows], () =>
    after(t, attention.attended, [-1, heads * headDim], [dRows], t.precision),
  );
  if (dAttended === null) return null;
  const dHeads = backAttend(t, inputs, plan, attention, dAttended);
  const dNormed = backTrained(t, qkv, dHeads, () => t.operand(again(kept.attentionNorm, dHeads)));
  return dNormed === null ? null : g.op('Add', [dBetween, backRmsNorm(t, kept.attentionNorm, t.floats(dNormed))]);
}

/** Computes the norm's result again, not before `first`. */
function rmsAgain(
  t: TrainingBuilder,
  { x, weight, epsilon }: RmsNorm,
  width: number,
  first: readonly string[],
): string {
  return rmsNorm(t, after(t, x, [-1, width], first), weight, epsilon).y;
}

/** Puts rows [S, hidden] in their places among those of `like` [R, hidden]; 0 elsewhere. */
function scatter({ g, on }: TrainingBuilder, rows: string, like: string): string {
  const shape = g.op('Shape', [like]);
  const zeros = on === 'host' ? g.op('ConstantOfShape', [shape]) : g.op('Expand', [g.float('zero', 0), shape]);
  const numbers = g.op('Unsqueeze', [trainingNames.sampled, g.integers('last', [-1])]);
  const places = on === 'host' ? numbers : g.op('Cast', [numbers], { to: dataTypes.int64 });
  return g.op('ScatterND', [zeros, places, rows], { reduction: 'add' });
}
