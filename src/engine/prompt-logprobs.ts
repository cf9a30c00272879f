// Log-probabilities of a prompt's own tokens, for those who measure texts instead of generating them: each chunk of a
// prefill gives the logits of all its positions, which say how likely the next token of the prompt was.

import { logprobsOf } from './logprobs.ts';
import type { Sequence } from './sequence.ts';

/** Indices of the last `count` of the tokens of a run. */
export const everyOf = (count: number, skipped: number): number[] =>
  Array.from({ length: count }, (_, index) => skipped + index);

/** @param logits [count, vocabulary], of the prompt tokens that end at `sequence.past` */
export function notePrompt({ past, request, promptLogprobs }: Sequence, logits: Float32Array, count: number): void {
  const { promptTokens, promptLogprobs: alternatives = 0 } = request;
  const vocabulary = logits.length / count;
  for (let index = 0; index < count; index++) {
    const next = promptTokens[past - count + index + 1];
    if (next === undefined) return;
    const row = logits.subarray(index * vocabulary, (index + 1) * vocabulary);
    promptLogprobs!.push(logprobsOf(row, next, alternatives));
  }
}
