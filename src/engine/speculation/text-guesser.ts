// Guesses for one sequence, from its own tokens and from its tenant's past texts. A guess costs nothing, so each is
// compared with the token that came, whether it was computed ahead or not: that tells how far ahead guessing pays.
// Knows tokens alone.

import { GuessRates } from './guess-rates.ts';
import { guessesAfter } from './guesses.ts';
import type { Shelf } from './past-texts.ts';
import { TokenIndex } from './token-index.ts';

/** Most of a sequence's own tokens that are indexed, the latest ones. */
const ownTokensMax = 2 ** 16;
/** Most tokens compared after several came without a guess: the last ones. */
const comparedMax = 16;

export type Guesses = { readonly tokens: readonly number[]; readonly chances: readonly number[] };

export class TextGuesser {
  readonly #text: readonly number[];
  readonly #own: Shelf = { index: new TokenIndex(ownTokensMax), rates: new GuessRates() };
  readonly #shelves: readonly Shelf[];
  #read = 0;

  /**
   * @param text grows while the sequence runs
   * @param past null without past texts
   */
  constructor(text: readonly number[], past: Shelf | null) {
    this.#text = text;
    this.#shelves = past === null ? [this.#own] : [this.#own, past];
    // A prompt's tokens are indexed without being compared with guesses.
    while (this.#read < text.length) this.#own.index.push(text[this.#read++]!);
  }

  /** Up to `count` guesses of what comes next from the sequence's own tokens, and as many from past texts. */
  guesses(count: number): Guesses[] {
    this.#catchUp();
    return this.#shelves.map(({ index, rates }) => {
      const guesses = [...guessesAfter(index, this.#text, this.#text.length).take(count)];
      return { tokens: guesses.map(({ token }) => token), chances: guesses.map(rates.chance) };
    });
  }

  #catchUp(): void {
    for (; this.#read < this.#text.length; this.#read++) {
      const token = this.#text[this.#read]!;
      if (this.#text.length - this.#read <= comparedMax) this.#compare(token);
      this.#own.index.push(token);
    }
  }

  #compare(token: number): void {
    for (const { index, rates } of this.#shelves) {
      const [guess] = guessesAfter(index, this.#text, this.#read);
      if (guess !== undefined) rates.observe(guess, guess.token === token);
    }
  }
}
