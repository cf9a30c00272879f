// How many tokens a sequence guesses ahead: as many as pay, given how often guesses were right and what a step costs
// with them. Pure.

export type DraftChances = {
  /** Probability of each guess if those before it are right. */
  readonly chances: readonly number[];
  /** Sequences in the step, this one included. */
  readonly rows: number;
  /** Milliseconds of a step of that many tokens. */
  readonly stepMs: (tokens: number) => number;
};

export type DraftLength = {
  readonly length: number;
  /** Expected tokens per time, in multiples of those of a step without guesses. */
  readonly gain: number;
};

/** Least estimated gain that counts; anything smaller is noise. */
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
