// Small graphs over pools of rows in device memory, all pools of a kind at once. Their output is their own input: only
// the rows that they name change.

import { dataTypes, type OnnxGraph } from '../formats/onnx.ts';
import { createGraphBuilder } from './graph-builder.ts';
import type { Real } from './target.ts';

/** Names of inputs and outputs. `target` is an input whose memory is bound as the output `written`. */
export const poolNames = {
  /** [N, X, Y], or [N, W] where rows are copied. */
  target: (pool: number) => `target.${pool}`,
  written: (pool: number) => `written.${pool}`,
  /** float32 [n, X, Y], or [n, Y, X] where rows are sent transposed. */
  rows: (pool: number) => `rows.${pool}`,
  /** [M, W] */
  source: (pool: number) => `source.${pool}`,
  /** int64 [n, 1]: rows of the target. */
  at: 'at',
  /** int64 [n]: rows of the source. */
  from: 'from',
  /** int64 [1]: elements to clear. */
  length: 'length',
  cleared: 'cleared',
} as const;

/** Writes rows that are sent: target[at] = rows. */
export function buildWriteRows(pools: number, real: Real, transposed: boolean): OnnxGraph {
  const g = createGraphBuilder();
  g.input(poolNames.at, 'int64', ['n', 1]);
  for (let pool = 0; pool < pools; pool++) {
    const target = g.input(poolNames.target(pool), real, ['N', 'X', 'Y']);
    const sent = g.input(poolNames.rows(pool), 'float32', transposed ? ['n', 'Y', 'X'] : ['n', 'X', 'Y']);
    const rows = g.cast(transposed ? g.op('Transpose', [sent], { perm: [0, 2, 1] }) : sent, real);
    g.op('ScatterND', [target, poolNames.at, rows], {}, g.output(poolNames.written(pool), real, ['N', 'X', 'Y']));
  }
  return g.build();
}

/**
 * Copies rows: target[at] = source[from]. All are read before any is written, so source and target may be the same
 * pools.
 */
export function buildCopyRows(pools: number, real: Real): OnnxGraph {
  const g = createGraphBuilder();
  g.input(poolNames.at, 'int64', ['n', 1]);
  g.input(poolNames.from, 'int64', ['n']);
  for (let pool = 0; pool < pools; pool++) {
    const source = g.input(poolNames.source(pool), real, ['M', 'W']);
    const target = g.input(poolNames.target(pool), real, ['N', 'W']);
    const rows = g.op('Gather', [source, poolNames.from]);
    g.op('ScatterND', [target, poolNames.at, rows], {}, g.output(poolNames.written(pool), real, ['N', 'W']));
  }
  return g.build();
}

/** Writes zeros: fresh memory may hold anything, and zero times NaN is NaN. */
export function buildClear(real: Real): OnnxGraph {
  const g = createGraphBuilder();
  g.input(poolNames.length, 'int64', [1]);
  const zero = g.op('Cast', [g.float('zero', 0)], { to: dataTypes[real] });
  g.op('Expand', [zero, poolNames.length], {}, g.output(poolNames.cleared, real, ['N']));
  return g.build();
}
