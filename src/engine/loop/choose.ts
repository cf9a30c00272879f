// Chooses the next token of each sequence from the logits of its row. Uses a sequence's sampler and changes nothing
// else of it.

import { LorikeetError } from '../../core/errors.ts';
import type { Constraint } from '../../grammar/grammar-thread.ts';
import type { TokenLogprobs } from '../../protocol/messages.ts';
import type { SampledLogits } from '../runner/compute.ts';
import { LogitsNotFinite } from '../sampling/argmax.ts';
import type { TopLogits } from '../sampling/draw-top.ts';
import { logprobsOf, logprobsOfTop } from '../sampling/logprobs.ts';
import type { Sequence } from './sequence.ts';

export type Choice = {
  readonly sequence: Sequence;
  /** `overflow`: the row's logits are not finite. An error: its grammar cannot go on. */
  readonly token: number | 'overflow' | LorikeetError;
  /** Only where the request asks for them. */
  readonly logprobs?: TokenLogprobs;
};

/** @param logits [vocabulary], changed in place */
export function choose(sequence: Sequence, logits: Float32Array): Choice {
  const own = ownLogits(sequence, logits);
  return choiceOf(
    sequence,
    own,
    orOverflow(() => sequence.sampler.sample(logits)),
  );
}

async function chooseFormed(sequence: Sequence, constraint: Constraint, logits: Float32Array): Promise<Choice> {
  const own = ownLogits(sequence, logits);
  try {
    return choiceOf(sequence, own, await sequence.sampler.sampleFormed(logits, constraint));
  } catch (error) {
    return { sequence, token: error instanceof LorikeetError ? error : overflowOr(error) };
  }
}

/**
 * Copies the logits for log-probabilities, which are of the model's own distribution: biases and penalties change
 * `logits` in place.
 */
const ownLogits = ({ request }: Sequence, logits: Float32Array): Float32Array | null =>
  request.params.logprobs === null ? null : logits.slice();

function choiceOf(sequence: Sequence, own: Float32Array | null, token: Choice['token']): Choice {
  if (own === null || typeof token !== 'number') return { sequence, token };
  return { sequence, token, logprobs: logprobsOf(own, token, sequence.request.params.logprobs!) };
}

/** @param at for each sequence, the row of `rows` with the logits of its last token */
export async function chooseEach(
  sequences: readonly Sequence[],
  { rows, whole }: SampledLogits,
  at: readonly number[],
): Promise<Choice[]> {
  const fromWhole = (sequence: Sequence, logits: Float32Array) =>
    sequence.constraint === null ? choose(sequence, logits) : chooseFormed(sequence, sequence.constraint, logits);
  const choices = sequences.map((sequence, i) => {
    const logits = rows[at[i]!]!;
    return logits instanceof Float32Array ? fromWhole(sequence, logits) : chooseFromTop(sequence, logits);
  });
  const open = [...choices.keys()].filter((i) => choices[i] === null);
  const fetched = open.length > 0 ? await whole(open.map((i) => at[i]!)) : [];
  for (const [i, row] of open.entries()) choices[row] = fromWhole(sequences[row]!, fetched[i]!);
  return Promise.all(choices as (Choice | Promise<Choice>)[]);
}

/** null where the best logits do not decide; the token then needs `choose` on the whole row. */
function chooseFromTop(sequence: Sequence, top: TopLogits): Choice | null {
  if (sequence.constraint !== null) return null;
  const { logprobs: count } = sequence.request.params;
  const token = orOverflow(() => sequence.sampler.sampleTop(top));
  if (token === null) return null;
  if (count === null || token === 'overflow') return { sequence, token };
  return { sequence, token, logprobs: logprobsOfTop(top, token, count) };
}

/** Turns logits that are not finite into `overflow`, which ends their row alone: no other row computes with them. */
function orOverflow<T>(work: () => T): T | 'overflow' {
  try {
    return work();
  } catch (error) {
    return overflowOr(error);
  }
}

function overflowOr(error: unknown): 'overflow' {
  if (error instanceof LogitsNotFinite) return 'overflow';
  throw error;
}
