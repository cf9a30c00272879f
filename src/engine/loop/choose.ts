// The next token of each sequence from the logits of its row. Knows a sequence's sampler; changes nothing else of it.

import type { TokenLogprobs } from '../../protocol/messages.ts';
import type { SampledLogits } from '../runner/compute.ts';
import { LogitsNotFinite } from '../sampling/argmax.ts';
import type { TopLogits } from '../sampling/draw-top.ts';
import { logprobsOf, logprobsOfTop } from '../sampling/logprobs.ts';
import type { Sequence } from './sequence.ts';

export type Choice = {
  readonly sequence: Sequence;
  /** `overflow`: its weights make numbers too large to be any. */
  readonly token: number | 'overflow';
  /** For those who ask. */
  readonly logprobs?: TokenLogprobs;
};

/** @param logits [vocabulary], changed in place */
export function choose(sequence: Sequence, logits: Float32Array): Choice {
  const { logprobs: count } = sequence.request.params;
  // Biases and penalties change the logits in place, and log-probabilities are of the model's own distribution.
  const own = count === null ? null : logits.slice();
  const token = orOverflow(() => sequence.sampler.sample(logits));
  if (own === null || token === 'overflow') return { sequence, token };
  return { sequence, token, logprobs: logprobsOf(own, token, count!) };
}

/** @param at the rows of the sequences' last tokens */
export async function chooseEach(
  sequences: readonly Sequence[],
  { rows, whole }: SampledLogits,
  at: readonly number[],
): Promise<Choice[]> {
  const choices = sequences.map((sequence, i) => {
    const logits = rows[at[i]!]!;
    return logits instanceof Float32Array ? choose(sequence, logits) : chooseFromTop(sequence, logits);
  });
  const open = [...choices.keys()].filter((i) => choices[i] === null);
  const fetched = open.length > 0 ? await whole(open.map((i) => at[i]!)) : [];
  for (const [i, row] of open.entries()) choices[row] = choose(sequences[row]!, fetched[i]!);
  return choices as Choice[];
}

/** null where the whole row decides, which is then for `choose`. */
function chooseFromTop(sequence: Sequence, top: TopLogits): Choice | null {
  const { logprobs: count } = sequence.request.params;
  const token = orOverflow(() => sequence.sampler.sampleTop(top));
  if (token === null) return null;
  if (count === null || token === 'overflow') return { sequence, token };
  return { sequence, token, logprobs: logprobsOfTop(top, token, count) };
}

/** Logits that are no numbers end their own row: no other row computes with them. */
function orOverflow<T>(work: () => T): T | 'overflow' {
  try {
    return work();
  } catch (error) {
    if (error instanceof LogitsNotFinite) return 'overflow';
    throw error;
  }
}
