// How many tokens a sequence guesses ahead: as many as pay, by how often guesses were right and what a step costs with
// them. Pure.

export type DraftChances = {
  /** How likely each guess is, if those before it are right. */
  readonly chances: readonly number[];
  /** Sequences in the step, this one too. */
  readonly rows: number;
  /** Milliseconds of a step of so many tokens. */
  readonly stepMs: (tokens: number) => number;
};

export type DraftLength = {
  readonly length: number;
  /** Tokens in the same time, against those without guesses. */
  readonly gain: number;
};

/** What is estimated to pay less than this is noise. */
const gainMin = 1.1;

export function draftLength({ chances, rows, stepMs }: DraftChances): DraftLength {
  let best: DraftLength = { length: 0, gain: 1 };
  let [likely, expected] = [1, rows];
  for (const [i, chance] of chances.entries()) {
    const length = i + 1;
    likely *= chance;
    expected += likely;
    const gain = expected / rows / (stepMs(rows + length) / stepMs(rows));
    if (gain > Math.max(gainMin, best.gain)) best = { length, gain };
  }
  return best;
}
