// The residual stream [R, hidden], which a decoder's layers read, normed, and add to.
//
// On the host, a linear's operator norms its input and adds the residual, so the stream is one tensor. A device has
// operators for these, and one for an addition with the norm that follows it: the last addition waits for that norm.

import { type Activation, gated } from './gated.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { LinearRows } from './linear.ts';
import type { GraphTarget } from './target.ts';

export type ResidualStream = {
  /** The stream's rows, normed with `weight`. */
  normed(weight: string): LinearRows;
  /** activation(gate) * up for rows with gate and up side by side, `width` each. */
  gated(gateUp: string, activation: Activation, width: number): LinearRows;
  /** Adds a linear's result on `rows`; with a `norm`, the result is normed before. */
  add(rows: LinearRows, linear: (rows: LinearRows) => string, norm: string | null): void;
  /** Keeps only the rows `indices`. */
  take(indices: string): void;
};

export function hostStream(g: GraphBuilder, epsilon: number, first: string): ResidualStream {
  let stream = first;
  return {
    normed: (weight) => ({ x: stream, norm: { weight, epsilon } }),
    gated: (x, activation, width) =>
      activation === 'silu' ? { x, gated: true } : { x: byOperators(g, x, activation, width) },
    add(rows, linear, norm) {
      if (norm === null) stream = linear({ ...rows, residual: stream });
      else stream = g.op('Add', [stream, normalized(g, linear(rows), norm, epsilon)]);
    },
    take(indices) {
      stream = g.op('Gather', [stream, indices]);
    },
  };
}

export function deviceStream(
  g: GraphBuilder,
  epsilon: number,
  { hasOperators = false }: GraphTarget,
  first: string,
): ResidualStream {
  let stream = first;
  let added: string | null = null;
  return {
    normed(weight) {
      if (added === null) return { x: normalized(g, stream, weight, epsilon) };
      const attributes = { epsilon: { float: epsilon } };
      const outputs = [null, '', '', null];
      const results = g.contrib('SkipSimplifiedLayerNormalization', [stream, added, weight], attributes, outputs);
      [stream, added] = [results[3]!, null];
      return { x: results[0]! };
    },
    gated: (x, activation, width) =>
      activation === 'silu' && hasOperators
        ? { x: g.native('GatedSilu', [x]) }
        : { x: byOperators(g, x, activation, width) },
    add(rows, linear, norm) {
      added = norm === null ? linear(rows) : normalized(g, linear(rows), norm, epsilon);
    },
    take(indices) {
      stream = g.op('Gather', [stream, indices]);
      if (added !== null) stream = g.op('Add', [stream, g.op('Gather', [added, indices])]);
      added = null;
    },
  };
}

export const normalized = (g: GraphBuilder, x: string, weight: string, epsilon: number): string =>
  g.op('SimplifiedLayerNormalization', [x, weight], { axis: -1, epsilon: { float: epsilon } });

function byOperators(g: GraphBuilder, gateUp: string, activation: Activation, width: number): string {
  const [gate, up] = g.split(gateUp, g.integers('gate_up_widths', [width, width]), 2) as [string, string];
  return gated(g, activation, gate, up);
}
