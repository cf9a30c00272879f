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

/** Of what a sequence waited in the queue: its prompt may wait for others' so much longer. */
const patience = 1 / 16;

/** Whether what started after such a wait may wait for others that start soon: its caller hardly sees it. */
export const hasPatience = ({ queuedAt, startedAt }: { queuedAt: number; startedAt: number }, now: number): boolean =>
  now - startedAt < patience * (startedAt - queuedAt);

export type Prompt = {
  /** Tokens that are not computed yet. */
  readonly left: number;
  /** It may be read later, with others: a step of few tokens is the dearest. */
  readonly canWait: boolean;
};

/**
 * Where prompts and answers have steps of their own: which prompts the next step reads; none: it is the answers' turn.
 * A processor computes both one after the other, so a prompt by itself has its first token sooner, and answers wait
 * for no more than the budget either way.
 * @param prompts in the order in which they started
 * @param since tokens of prompts that were read since answers were computed last
 * @returns the same after this step, too
 */
export function promptsNext<T extends Prompt>(
  prompts: readonly T[],
  budget: number,
  since: number,
): { readonly next: readonly T[]; readonly since: number } {
  const together = budget * togetherMax;
  const total = prompts.reduce((sum, { left }) => sum + left, 0);
  const [first, ...others] = [...prompts].sort((a, b) => Number(a.canWait) - Number(b.canWait));
  const isEarly = first === undefined || (first.canWait && total < together);
  if (isEarly || (since > 0 && since + first.left > budget)) return { next: [], since: 0 };
  const next = [first];
  let sum = first.left;
  for (const prompt of others) {
    if (sum + prompt.left > together || since + sum + prompt.left > budget) break;
    sum += prompt.left;
    next.push(prompt);
  }
  return { next, since: since + Math.max(sum, Math.ceil(budget * stepMin)) };
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
