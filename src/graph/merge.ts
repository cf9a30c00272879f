// A graph of what an adapter adds to some rows of a linear: delta [rows, k] = b [rows, r] · a [r, k].

import type { OnnxGraph } from '../formats/onnx.ts';
import { createGraphBuilder } from './graph-builder.ts';

export const mergeNames = { a: 'a', b: 'b', delta: 'delta' } as const;

/** One graph serves all sizes. */
export function buildMerge(): OnnxGraph {
  const g = createGraphBuilder();
  const { a, b, delta } = mergeNames;
  g.input(a, 'float32', ['r', 'k']);
  g.input(b, 'float32', ['rows', 'r']);
  g.op('MatMul', [b, a], {}, delta);
  g.output(delta, 'float32', ['rows', 'k']);
  return g.build();
}
