// What choosing tokens needs of logits that stay in a device's memory: the best of each row, and sums over all of it. A
// row is fetched whole only where more of it is needed.

import type { OnnxGraph } from '../formats/onnx.ts';
import { createGraphBuilder } from './graph-builder.ts';

/** Names of inputs and outputs, for S rows of logits. */
export const topNames = {
  /** float32 [S, vocabulary] */
  logits: 'logits',
  /** float32 [S, 1]: 1 / temperature. */
  sharpness: 'sharpness',
  /** Outputs, the best first: `values` float32 [S, K], `tokens` int64 [S, K]. */
  values: 'values',
  tokens: 'tokens',
  /** Outputs, float32 [S, 1]: the sum of exp(logit - best), and the sum of exp((logit - best) * sharpness). */
  mass: 'mass',
  sharpMass: 'sharp_mass',
  /** int64 [N]: rows to fetch. */
  wanted: 'wanted',
  /** Output, float32 [N, vocabulary]. */
  rows: 'rows',
} as const;

/** The graph of a row's `count` best logits and its masses, which are NaN if a logit is not finite. */
export function buildTopLogits(vocabulary: number, count: number): OnnxGraph {
  const g = createGraphBuilder();
  const { logits, sharpness, values, tokens, mass, sharpMass } = topNames;
  g.input(logits, 'float32', ['S', vocabulary]);
  g.input(sharpness, 'float32', ['S', 1]);
  g.output(values, 'float32', ['S', count]);
  g.output(tokens, 'int64', ['S', count]);
  g.output(mass, 'float32', ['S', 1]);
  g.output(sharpMass, 'float32', ['S', 1]);
  g.ops('TopK', [logits, g.integers('count', [count])], { axis: -1 }, [values, tokens]);
  const last = g.integers('last', [-1]);
  const best = g.op('Slice', [values, g.integers('at_0', [0]), g.integers('at_1', [1]), last]);
  const below = g.op('Sub', [logits, best]);
  g.op('ReduceSum', [g.op('Exp', [below]), last], { keepdims: 1 }, mass);
  g.op('ReduceSum', [g.op('Exp', [g.op('Mul', [below, sharpness])]), last], { keepdims: 1 }, sharpMass);
  return g.build();
}

export function buildFetchRows(vocabulary: number): OnnxGraph {
  const g = createGraphBuilder();
  const { logits, wanted, rows } = topNames;
  g.input(logits, 'float32', ['S', vocabulary]);
  g.input(wanted, 'int64', ['N']);
  g.output(rows, 'float32', ['N', vocabulary]);
  g.op('Gather', [logits, wanted], {}, rows);
  return g.build();
}
