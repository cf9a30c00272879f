// Log-probabilities of the model's own distribution, where a request asks for them: one pass over the vocabulary for a
// token, or from a device's best logits.

import type { TokenLogprobs } from '../../protocol/messages.ts';
import { row } from './argmax.ts';
import type { TopLogits } from './draw-top.ts';

/** Natural logarithms, best first: the chosen token's and those of the `count` most likely tokens. */
export function logprobsOf(logits: Float32Array, chosen: number, count: number): TokenLogprobs {
  const total = logSumExp(logits);
  return {
    logprob: logits[chosen]! - total,
    top: row.best(count).map((token) => [token, logits[token]! - total] as const),
  };
}

/** As `logprobsOf`, from the best logits, of which `chosen` is one. */
export function logprobsOfTop({ tokens, logits, mass }: TopLogits, chosen: number, count: number): TokenLogprobs {
  const total = logits[0]! + Math.log(mass);
  const logprobs = Array.from(tokens, (token, i) => [token, logits[i]! - total] as const);
  return { logprob: logprobs.find(([token]) => token === chosen)![1], top: logprobs.slice(0, count) };
}

/** The logarithm of the sum of exp(logit), to subtract from logits; NaN where they are not finite. */
export function logSumExp(logits: Float32Array): number {
  const best = row.argmax(logits);
  return best < 0 ? Number.NaN : logits[best]! + Math.log(row.mass(1));
}
