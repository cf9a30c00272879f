// The largest logit.

import { createRowSampling } from '../wasm/row-sampling.ts';

/** Asked about the row of logits that `argmax` took last. */
export const row = createRowSampling();

/** Weights, or an adapter's, that overflow; or a runtime that is broken. */
export class LogitsNotFinite extends Error {
  constructor() {
    super('The logits are not finite: the weights or the runtime are broken.');
    this.name = 'LogitsNotFinite';
  }
}

/** The first of the largest of [vocabulary]. */
export function argmax(logits: Float32Array): number {
  const best = row.argmax(logits);
  if (best < 0) throw new LogitsNotFinite();
  return best;
}
