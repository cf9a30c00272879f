// Where a run leaves its logits or hidden rows.

import type { DecoderResult } from '../../graph/adapted-linear.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';

export type LogitsPlace = {
  /** Identity of the memory: a binding is kept while it is the same. */
  readonly memory: unknown;
  /** Logits by default. */
  readonly result?: DecoderResult;
  /** Whether the place is always the same device memory. */
  readonly stays: boolean;
  view(rows: number): Tensor;
};

/** A place [rows, results / rows] in JavaScript's memory. */
export const resultsIn = (
  runtime: Runtime,
  results: Float32Array<ArrayBuffer>,
  result: DecoderResult,
): LogitsPlace => ({
  ...{ memory: results.buffer, stays: false, result },
  view: (rows) => runtime.tensor(results, [rows, results.length / rows]),
});
