// How often guesses were right, by what was known when they were made. Bookkeeping alone.

/** How many of the places at which a text's last tokens stood before agree on what follows. */
export type Agreement = 'one' | 'all' | 'most' | 'some';

export type Guess = {
  readonly token: number;
  /** Tokens in a row before the guess that agree with the place. */
  readonly matched: number;
  /** `one`: there was only one place. */
  readonly agreement: Agreement;
};

/** Bounds of `matched` between the classes of guesses. */
const steps = [4, 8, 16, 32] as const;
/** Assumed probability of each class, and the number of guesses that it weighs. */
const priors: Readonly<Record<Agreement, readonly number[]>> = {
  one: [0.3, 0.5, 0.7, 0.85, 0.95],
  all: [0.5, 0.7, 0.85, 0.9, 0.95],
  most: [0.4, 0.5, 0.6, 0.7, 0.7],
  some: [0.2, 0.3, 0.4, 0.4, 0.4],
};
const priorWeight = 4;
/** Factor on older observations with each new one: texts of long ago say little of the present ones. */
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
