// Log-probabilities of a prompt's own tokens, for those who measure texts instead of generating them: each chunk of a
// prefill gives the logits of all its positions, which say how likely the next token of the prompt was.

import { logprobsOf } from '../sampling/logprobs.ts';
import type { Sequence } from './sequence.ts';

/** @param rows logits of the positions from `first` on; positions that were noted before are skipped */
export function notePrompt({ request, promptLogprobs }: Sequence, first: number, rows: readonly Float32Array[]): void {
  const { promptTokens, promptLogprobs: alternatives = 0 } = request;
  for (const [index, row] of rows.entries()) {
    const position = first + index + 1;
    const next = promptTokens[position];
    if (next === undefined) return;
    if (position === promptLogprobs!.length) promptLogprobs!.push(logprobsOf(row, next, alternatives));
  }
}
