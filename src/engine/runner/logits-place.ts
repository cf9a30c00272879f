// Where a run leaves its logits, or its hidden rows.

import type { DecoderResult } from '../../graph/adapted-linear.ts';
import type { Runtime, Tensor } from '../../runtime/session.ts';

export type LogitsPlace = {
  /** What is bound stays bound while this is the same. */
  readonly memory: unknown;
  /** Logits by default. */
  readonly result?: DecoderResult;
  /** It is always the same memory of the device's. */
  readonly stays: boolean;
  view(rows: number): Tensor;
};

/** [rows, results / rows] in JavaScript's memory. */
export const resultsIn = (
  runtime: Runtime,
  results: Float32Array<ArrayBuffer>,
  result: DecoderResult,
): LogitsPlace => ({
  ...{ memory: results.buffer, stays: false, result },
  view: (rows) => runtime.tensor(results, [rows, results.length / rows]),
});
