// Log-probabilities of the model's own distribution, for those who ask: one pass over the vocabulary a token, or what a
// device has said of it.

import type { TokenLogprobs } from '../protocol/messages.ts';
import type { TopLogits } from './draw-top.ts';

/** Natural logarithms, best first: the chosen token's and those of the `count` most likely tokens. */
export function logprobsOf(logits: Float32Array, chosen: number, count: number): TokenLogprobs {
  const total = logSumExp(logits);
  return {
    logprob: logits[chosen]! - total,
    top: largest(logits, count).map((token) => [token, logits[token]! - total] as const),
  };
}

/** The same from the best logits, of which `chosen` is one. */
export function logprobsOfTop({ tokens, logits, mass }: TopLogits, chosen: number, count: number): TokenLogprobs {
  const total = logits[0]! + Math.log(mass);
  const logprobs = Array.from(tokens, (token, i) => [token, logits[i]! - total] as const);
  return { logprob: logprobs.find(([token]) => token === chosen)![1], top: logprobs.slice(0, count) };
}

/** What turns logits into log-probabilities when it is subtracted. */
export function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}

/** Ids of the `count` largest, best first. `count` is small, so an insertion into a short list is the fast way. */
function largest(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  if (count === 0) return best;
  for (let token = 0; token < logits.length; token++) {
    if (best.length === count && logits[token]! <= logits[best.at(-1)!]!) continue;
    let at = best.length;
    while (at > 0 && logits[best[at - 1]!]! < logits[token]!) at--;
    best.splice(at, 0, token);
    if (best.length > count) best.pop();
  }
  return best;
}
