// How many tokens each running sequence takes in the next step, and who decodes where not all can. Pure.

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

/**
 * Those that decode in one step, `most` at most: what prompts have a right to of the budget is left to them, where
 * there are any.
 */
export const decodesMax = (most: number, budget: number, hasPrompts: boolean): number =>
  Math.min(most, hasPrompts ? Math.max(1, budget - Math.ceil(budget * restMin)) : budget);

/**
 * Of those that decode, the ones that do in the next step: of the flows that were served least, and of each those whose
 * last turn is longest ago. So who came with hundreds of sequences does not make everybody's steps long.
 */
export function inTurn<T extends { readonly counter: number; readonly turn: number }>(
  decoding: readonly T[],
  most: number,
): T[] {
  if (decoding.length <= most) return [...decoding];
  return [...decoding].sort((a, b) => a.counter - b.counter || a.turn - b.turn).slice(0, most);
}
