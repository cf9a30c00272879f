// The largest logit.

/** Weights, or an adapter's, that overflow; or a runtime that is broken. */
export class LogitsNotFinite extends Error {
  constructor() {
    super('The logits are not finite: the weights or the runtime are broken.');
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
