// The training graph of a lowered model: loss of a batch and its derivatives by the adapters' matrices. The base is
// frozen and gets no derivatives. Its weights are dequantised inside the graph, so training is against the weights that
// serve.
//
//   x = embedding(tokens [B, T])
//   each layer:  x += output(attention(qkv(norm(x))));  x += down(silu(gate(norm(x))) * up(norm(x)))
//   loss(head(norm(x[sampled])), labels), and the same way back, down to the lowest linear that is trained

import type { OnnxGraph } from '../formats/onnx.ts';
import { attentionInputs } from './attention-inputs.ts';
import { gatherRows } from './frozen-linear.ts';
import type { LoweredModel, LoweredTensor, RoundedTensor } from './lowered.ts';
import { backRmsNorm, rmsNorm } from './rms-norm.ts';
import { after, createTrainingBuilder, type TrainingBuilder } from './training-builder.ts';
import { type TrainingForm, trainingNames } from './training-form.ts';
import { applyLayer, backLayer, type TrainedLayer } from './training-layer.ts';
import { addLoss } from './training-loss.ts';

export type TrainingGraph = {
  readonly graph: OnnxGraph;
  /** Weights for a session of the graph, by initialiser name; their memory is shared with the model. */
  readonly weights: ReadonlyMap<string, LoweredTensor | RoundedTensor>;
};

export function buildTrainingGraph(model: LoweredModel, form: TrainingForm): TrainingGraph {
  const t = createTrainingBuilder(model, form);
  const { g } = t;
  const { shape } = model;
  addInputs(t);
  const inputs = attentionInputs(t);
  const layers: TrainedLayer[] = [];
  let x = embed(t);
  for (let layer = 0; layer < shape.layers; layer++) {
    layers.push(applyLayer(t, inputs, layer, x));
    x = layers[layer]!.result;
  }
  const norm = rmsNorm(t, x, t.own('norm'), t.plan.epsilon);
  const dNorm = addLoss(t, norm.y);
  let dx = dNorm === null ? null : backRmsNorm(t, norm, dNorm);
  for (let layer = shape.layers - 1; dx !== null; layer--) {
    let kept = layers[layer]!;
    if (form.recompute && layer < shape.layers - 1) {
      kept = applyLayer(t, inputs, layer, after(t, kept.attentionNorm.x, [-1, shape.hidden], [dx]));
    }
    dx = backLayer(t, inputs, layer, kept, dx);
  }
  return { graph: g.build(), weights: t.weights };
}

function addInputs({ g, on, form }: TrainingBuilder): void {
  const { tokens, positions, segments, sampled, labels, lossWeights, dropout } = trainingNames;
  const integer = on === 'host' ? 'int64' : 'int32';
  for (const name of [tokens, positions, segments]) g.input(name, name === positions ? 'int64' : integer, ['B', 'T']);
  for (const name of [sampled, labels]) g.input(name, integer, ['S']);
  g.input(lossWeights, 'float32', ['S']);
  if (form.dropout) g.input(dropout, 'float32', ['D']);
}

/** [R, hidden] */
function embed(t: TrainingBuilder): string {
  const { g, model, ownOperand, plan } = t;
  const tokens = g.op('Reshape', [trainingNames.tokens, g.integers('flat', [-1])]);
  // A tied 8-bit embedding is read from the head.
  const rows = model.weights.has('embedding')
    ? g.op('Gather', [ownOperand('embedding'), tokens])
    : gatherRows(t, 'head', tokens);
  const floats = t.floats(rows);
  return plan.embeddingScale === 1 ? floats : g.op('Mul', [floats, g.float('embedding_scale', plan.embeddingScale)]);
}
