// How many tokens a sequence guesses ahead: as many as pay, by how often guesses were right and what a step costs with
// them. Pure.

export type DraftChances = {
  /** How likely the next guess is right after so many right ones in a row. */
  readonly chance: (matched: number) => number;
  /** Right ones in a row before the first of the draft. */
  readonly matched: number;
  /** Sequences in the step, this one too. */
  readonly rows: number;
  /** Milliseconds of a step of so many tokens. */
  readonly stepMs: (tokens: number) => number;
  /** Tokens that it may guess at most. */
  readonly most: number;
};

/** What is estimated to pay less than this is noise. */
const gainMin = 1.1;

export function draftLength({ chance, matched, rows, stepMs, most }: DraftChances): number {
  let [best, gainOfBest] = [0, gainMin];
  let [likely, expected] = [1, rows];
  for (let length = 1; length <= most; length++) {
    likely *= chance(matched + length - 1);
    expected += likely;
    const gain = expected / rows / (stepMs(rows + length) / stepMs(rows));
    if (gain > gainOfBest) [best, gainOfBest] = [length, gain];
  }
  return best;
}
