// How often guesses were right, by what was known when they were made. Pure bookkeeping.

/** Of the places where a text's last tokens stood, how many say what follows. */
export type Agreement = 'one' | 'all' | 'most' | 'some';

export type Guess = {
  readonly token: number;
  /** Tokens in a row that agreed before it. */
  readonly matched: number;
  /** `one`: there was but one place. */
  readonly agreement: Agreement;
};

/** Tokens that agreed, by which guesses are told apart. */
const steps = [4, 8, 16, 32] as const;
/** How likely each is before anything is known, and how many guesses that is worth. */
const priors: Readonly<Record<Agreement, readonly number[]>> = {
  one: [0.3, 0.5, 0.7, 0.85, 0.95],
  all: [0.5, 0.7, 0.85, 0.9, 0.95],
  most: [0.4, 0.5, 0.6, 0.7, 0.7],
  some: [0.2, 0.3, 0.4, 0.4, 0.4],
};
const priorWeight = 4;
/** What was long ago says little of the texts now. */
const decay = 0.95;

export class GuessRates {
  readonly #rates = Object.fromEntries(
    Object.entries(priors).map(([agreement, chances]) => [
      agreement,
      chances.map((prior) => ({ hits: prior * priorWeight, count: priorWeight })),
    ]),
  ) as Record<Agreement, { hits: number; count: number }[]>;

  readonly chance = (guess: Guess): number => {
    const { hits, count } = this.#rateOf(guess);
    return hits / count;
  };

  observe(guess: Guess, isRight: boolean): void {
    const rate = this.#rateOf(guess);
    rate.hits = rate.hits * decay + Number(isRight);
    rate.count = rate.count * decay + 1;
  }

  #rateOf({ matched, agreement }: Guess) {
    const step = steps.findIndex((end) => matched < end);
    return this.#rates[agreement][step === -1 ? steps.length : step]!;
  }
}
