// How far a next-token distribution lies from the reference's. Knows no model and no file.

import type { Distribution, ReferencePrompt } from './references.ts';

/**
 * KL(reference ‖ measured) in nats, over the reference's stored tokens, with all other tokens as one lump:
 *     Σ_stored p (log p - log q) + tail_p (log tail_p - log tail_q).
 * `logits` cover the whole vocabulary, so every log q is exact. Lumping can only lower the divergence; llama-cpp.json
 * holds both figures for llama.cpp, so that the gap is known.
 */
export function klDivergence(reference: Distribution, logits: Float32Array): number {
  const total = logSumExp(logits);
  let kl = 0;
  let stored = 0;
  for (let i = 0; i < reference.ids.length; i++) {
    const logP = reference.logprobs[i]!;
    const logQ = logits[reference.ids[i]!]! - total;
    kl += Math.exp(logP) * (logP - logQ);
    stored += Math.exp(logQ);
  }
  // Rounding may leave less than nothing of a tail that is nearly empty in both.
  const tail = Math.max(1 - stored, Number.EPSILON);
  return reference.tail > 0 ? kl + reference.tail * Math.log(reference.tail / tail) : kl;
}

function logSumExp(logits: Float32Array): number {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
}

export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

export type Parity = {
  readonly distributions: number;
  readonly meanKl: number;
  readonly medianKl: number;
  readonly largestKl: number;
  /** Share of distributions whose most likely token is the reference's. */
  readonly top1: number;
};

/** `nextTokenLogits` gives the logits `[vocabulary]` after the last of the tokens. */
export async function measureParity(
  prompts: readonly ReferencePrompt[],
  nextTokenLogits: (tokens: readonly number[]) => Promise<Float32Array>,
): Promise<Parity> {
  const kls: number[] = [];
  let agreed = 0;
  for (const prompt of prompts) {
    for (const [i, position] of prompt.positions.entries()) {
      const reference = prompt.distributions[i]!;
      const logits = await nextTokenLogits(prompt.tokens.slice(0, position + 1));
      kls.push(klDivergence(reference, logits));
      if (argmax(logits) === reference.ids[0]) agreed++;
    }
  }
  // NaN must not hide: it sorts nowhere, so the mean carries it to the test's assertion.
  const sorted = kls.toSorted((a, b) => a - b);
  return {
    distributions: kls.length,
    meanKl: kls.reduce((a, b) => a + b, 0) / kls.length,
    medianKl: sorted[Math.floor(sorted.length / 2)]!,
    largestKl: sorted.at(-1)!,
    top1: agreed / kls.length,
  };
}

export function parityLine(name: string, parity: Parity): string {
  const { distributions, meanKl, medianKl, largestKl, top1 } = parity;
  const kl = `mean KL ${meanKl.toFixed(5)} nats, median ${medianKl.toFixed(5)}, largest ${largestKl.toFixed(4)}`;
  return `${name}: ${kl}, top-1 agreement ${(100 * top1).toFixed(1)} % of ${distributions}`;
}
