// The largest logit.

import { createRowSampling } from '../../wasm/row-sampling.ts';

/** Asked about the row of logits that `argmax` took last. */
export const row = createRowSampling();

/** A row whose activations overflowed, by the base's weights or by an adapter's. */
export class LogitsNotFinite extends Error {
  constructor() {
    super('The logits are not finite.');
    this.name = 'LogitsNotFinite';
  }
}

/** The first of the largest of [vocabulary]. */
export function argmax(logits: Float32Array): number {
  const best = row.argmax(logits);
  if (best < 0) throw new LogitsNotFinite();
  return best;
}
