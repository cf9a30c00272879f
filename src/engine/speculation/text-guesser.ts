// Guesses for one sequence, from its own tokens and from its tenant's past texts. Guesses cost nothing, so each is
// compared with what came, whether it was computed ahead or not: that says how far ahead guessing pays. Knows tokens
// alone.

import { GuessRates } from './guess-rates.ts';
import { guessesAfter } from './guesses.ts';
import type { Shelf } from './past-texts.ts';
import { TokenIndex } from './token-index.ts';

/** The latest of a sequence's own tokens, for those that are longer. */
const ownTokensMax = 2 ** 16;
/** Tokens that came while nobody guessed teach no more than this many. */
const comparedMax = 16;

export type Guesses = { readonly tokens: readonly number[]; readonly chances: readonly number[] };

export class TextGuesser {
  readonly #text: readonly number[];
  readonly #own: Shelf = { index: new TokenIndex(ownTokensMax), rates: new GuessRates() };
  readonly #shelves: readonly Shelf[];
  #read = 0;

  /**
   * @param text which becomes longer
   * @param past null: there are no past texts
   */
  constructor(text: readonly number[], past: Shelf | null) {
    this.#text = text;
    this.#shelves = past === null ? [this.#own] : [this.#own, past];
    // Of a prompt nobody guesses anything.
    while (this.#read < text.length) this.#own.index.push(text[this.#read++]!);
  }

  /** At most `count` guesses of what comes next, of its own tokens and of past texts. */
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
