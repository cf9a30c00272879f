// Who takes part in the next step, with how many tokens, and who decodes where not all can. Pure.

/** A processor computes prompts and answers one after the other, and so in steps of their own. */
export type Processor = {
  /** Sequences that decode in one step; more take turns. */
  readonly decodes: number;
  /** Sequences with which it computes about as fast as it can: beside these nothing is left for others. */
  readonly full: number;
};

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

/** Of the budget: prompts that share a step. What is longer is read alone: nobody's first token waits for it. */
const togetherMax = 0.5;

/** Of the budget: what a step takes at least, however little it reads. */
const stepMin = 0.125;

/**
 * Where prompts and answers have steps of their own: how many prompts, the first of these, the next step reads; 0: it
 * is the answers' turn. A processor computes both one after the other, so a prompt by itself has its first token
 * sooner, and answers wait for no more than the budget either way.
 * @param lefts tokens that are not computed yet, by prompt, in the order in which they started
 * @param since tokens of prompts that were read since answers were computed last
 * @returns the same after this step, too
 */
export function promptsNext(
  lefts: readonly number[],
  budget: number,
  since: number,
): { readonly count: number; readonly since: number } {
  const [first] = lefts;
  if (first === undefined || (since > 0 && since + first > budget)) return { count: 0, since: 0 };
  let sum = first;
  let count = 1;
  for (const left of lefts.slice(1)) {
    if (sum + left > budget * togetherMax || since + sum + left > budget) break;
    sum += left;
    count++;
  }
  return { count, since: since + Math.max(sum, Math.ceil(budget * stepMin)) };
}

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
