// Guesses what comes next in a text: where its last tokens stood before, what followed them then may follow again.
// Several such places vote, as in SuffixDecoding (arXiv 2411.04975). Pure.

import type { Agreement, Guess } from './guess-rates.ts';
import type { TokenIndex } from './token-index.ts';

/**
 * Guesses after the first `count` tokens of a text, each as if those before it were right; mostly none. Endless where
 * the text repeats itself.
 * @param index of other texts, or of this one
 */
export function* guessesAfter(index: TokenIndex, text: readonly number[], count: number): IteratorObject<Guess> {
  const places = index.places(text, count);
  let matched = Math.max(0, ...places.map((place) => place.matched));
  // Drops places that match less than half as many tokens as the best.
  let open = places.filter((place) => 2 * place.matched >= matched).map(({ at }) => at);
  const told: number[] = [];
  for (; open.length > 0; matched++) {
    // A place past the end of the index continues in the guesses themselves: the text repeats itself.
    const tokens = open.map((at) => (at < index.end ? index.token(at) : told[at - index.end]!));
    const { token, votes } = mostOf(tokens);
    if (token < 0) return;
    told.push(token);
    yield { token, matched, agreement: agreementOf(votes, tokens.length) };
    open = open.filter((_, i) => tokens[i] === token).map((at) => at + 1);
  }
}

/** The token with most votes; the first of equals. */
function mostOf(tokens: readonly number[]): { readonly token: number; readonly votes: number } {
  const votes = new Map<number, number>();
  for (const token of tokens) votes.set(token, (votes.get(token) ?? 0) + 1);
  let best = { token: tokens[0]!, votes: 0 };
  for (const [token, count] of votes) if (count > best.votes) best = { token, votes: count };
  return best;
}

function agreementOf(votes: number, of: number): Agreement {
  if (of === 1) return 'one';
  if (votes === of) return 'all';
  return 2 * votes > of ? 'most' : 'some';
}
