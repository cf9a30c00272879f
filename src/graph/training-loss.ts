// Loss of the sampled rows h [S, k] against their labels, and its derivative by h. Goes over the head in pieces, so
// that neither the head's floats nor the logits are ever whole in memory.
//
//     loss = sum over rows of weight * (log Z - z),  z = h · W[label],  Z = sum over the vocabulary of exp(h · W)
//     dh = weight * (softmax(h Wᵀ) W - W[label])
//
// Where the model caps logits, softmax and z are of capped logits, and both terms of dh go back through the cap. Where
// products are rounded, z is rounded in the same way: a label that has nearly all of Z then has a loss of 0, not less.
//
// A piece c gives its own log Z_c and softmax_c · W_c; the shares Z_c / Z are a softmax over pieces. The logarithm
// comes from the result of the fused softmax: log Z = max - log(softmax at the max).

import { frozenRows, gatherRows } from './frozen-linear.ts';
import { backSoftCap, softCap } from './soft-cap.ts';
import type { TrainingBuilder } from './training-builder.ts';
import { trainingNames } from './training-form.ts';

/** Rows of the head in a piece: 9 MB of floats at a hidden size of 576. */
const pieceRows = 4096;

/** Adds the loss; gives its derivative by h [S, k], null without a backward pass. */
export function addLoss(t: TrainingBuilder, h: string): string | null {
  const { g, model, form } = t;
  const { k } = model.linears.get('head')!;
  const { labels, lossWeights, logprobs, loss } = trainingNames;
  const last = g.integers('last', [-1]);
  const labelRows = t.floats(gatherRows(t, 'head', labels));
  const read = t.operand(h);
  const sums = g.op('ReduceSum', [g.op('Mul', [t.floats(read), labelRows]), last], { keepdims: 0 });
  const products = t.floats(t.operand(sums));
  const { y: logits, tanh } = softCap(g, products, t.plan.logitsSoftcap);
  const pieces = headPieces(t, read);
  const [ofPieces, means] = form.backward
    ? (g.split(pieces, g.integers('piece_widths', [1, k]), 2) as [string, string])
    : [pieces, null];
  const logs = g.op('Squeeze', [ofPieces, last]);
  const shares = g.op('Softmax', [logs], { axis: -1 });
  const logZ = logSum(t, logs, shares, 0);
  g.op('Sub', [logits, logZ], {}, logprobs);
  const weighted = g.op('Mul', [logprobs, lossWeights]);
  g.op('Neg', [g.op('ReduceSum', [weighted, g.integers('at_0', [0])], { keepdims: 1 })], {}, loss);
  g.output(logprobs, 'float32', ['S']);
  g.output(loss, 'float32', [1]);
  if (means === null) return null;
  const mean = g.op('Squeeze', [g.op('MatMul', [g.op('Unsqueeze', [shares, g.integers('at_1', [1])]), means]), 'at_1']);
  const rowWeights = g.op('Unsqueeze', [lossWeights, last]);
  const ofLabels = backSoftCap(g, tanh && g.op('Unsqueeze', [tanh, last]), labelRows);
  return g.op('Mul', [g.op('Sub', [mean, ofLabels]), rowWeights]);
}

/** float32 [S, pieces, 1 + k]: log Z_c, and softmax_c · W_c beside it if there is a backward pass. */
function headPieces(t: TrainingBuilder, h: string): string {
  const { g, model, form } = t;
  const { n } = model.linears.get('head')!;
  const results: string[] = [];
  for (let first = 0; first < n; first += pieceRows) {
    const rows = { first, count: Math.min(pieceRows, n - first) };
    // Makes one piece after the other.
    const piece = frozenRows(t, 'head', rows, [results.at(-1) ?? h]);
    const { y: logits, tanh } = softCap(g, t.floats(piece.product(h)), t.plan.logitsSoftcap);
    const softmax = g.op('Softmax', [logits], { axis: -1 });
    const log = logSum(t, logits, softmax, 1);
    const parts = form.backward ? [log, t.floats(piece.grad(t.operand(backSoftCap(g, tanh, softmax))))] : [log];
    const result = form.backward ? g.op('Concat', parts, { axis: -1 }) : log;
    results.push(g.op('Unsqueeze', [result, g.integers('at_1', [1])]));
  }
  return g.op('Concat', results, { axis: 1 });
}

/** log(sum(exp(x))) of rows, given their softmax. */
function logSum(t: TrainingBuilder, x: string, softmax: string, keepdims: 0 | 1): string {
  const { g } = t;
  return g.op('Sub', [largest(t, x, keepdims), g.op('Log', [largest(t, softmax, keepdims)])]);
}

/** The largest value along the last axis. CUDA's ReduceMax needs cuDNN, which may be missing; TopK does not. */
function largest({ g, on }: TrainingBuilder, x: string, keepdims: 0 | 1): string {
  const last = g.integers('last', [-1]);
  if (on === 'host') return g.op('ReduceMax', [x, last], { keepdims });
  const best = g.ops('TopK', [x, g.integers('at_1', [1])], { axis: -1 }, [null, null])[0]!;
  return keepdims ? best : g.op('Squeeze', [best, last]);
}
