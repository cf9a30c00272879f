// The largest logit.

/** A row whose activations overflowed, by the base's weights or by an adapter's. */
export class LogitsNotFinite extends Error {
  constructor() {
    super('The logits are not finite.');
    this.name = 'LogitsNotFinite';
  }
}

/** The first of the largest. */
export function argmax(logits: Float32Array): number {
  let best = -1;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    // NaN compares with nothing, so it does not pass here.
    if (logits[i]! <= max) continue;
    max = logits[i]!;
    best = i;
    if (Number.isNaN(max)) break;
  }
  if (!Number.isFinite(max)) throw new LogitsNotFinite();
  return best;
}
