// How many tokens each running sequence takes in the next step. Pure.

/** Of the budget: prompts go on, however many sequences decode. */
const restMin = 0.25;

/**
 * One budget for the step: a token for each sequence that lacks one, and what is left to the others in their order, so
 * that short prompts share a step and a long one takes several.
 * @param lefts tokens that are not computed yet, by sequence, at least 1; who is first has the first right
 */
export function shareTokens(lefts: readonly number[], budget: number): number[] {
  const single = lefts.filter((left) => left === 1).length;
  let rest = Math.max(budget - single, Math.ceil(budget * restMin));
  return lefts.map((left) => {
    if (left === 1) return 1;
    const share = Math.min(left, rest);
    rest -= share;
    return share;
  });
}
