// The largest logit of a row, and the error of rows that are not finite.

import { createRowSampling } from '../../wasm/row-sampling.ts';

/** Holds what is known of the row of logits that `argmax` took last. */
export const row = createRowSampling();

/** A row whose activations overflowed, because of the base's weights or of an adapter's. */
export class LogitsNotFinite extends Error {
  constructor() {
    super('The logits are not finite.');
    this.name = 'LogitsNotFinite';
  }
}

/** Index of the largest logit of [vocabulary], the first of equals. Throws `LogitsNotFinite`. */
export function argmax(logits: Float32Array): number {
  const best = row.argmax(logits);
  if (best < 0) throw new LogitsNotFinite();
  return best;
}
