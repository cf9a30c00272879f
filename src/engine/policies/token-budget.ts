// Chooses the sequences of the next step and their numbers of tokens, and who decodes where not all can. Pure.

/** A processor, which computes prompts and answers one after the other, and so in steps of their own. */
export type Processor = {
  /** Most sequences that decode in one step; more take turns. */
  readonly decodes: number;
  /** Sequences at which the processor is about as fast as it gets: beside these nothing is left for other processes. */
  readonly full: number;
};

/** Least share of the budget that is left for prompts, however many sequences decode. */
const restMin = 0.25;

/**
 * Shares one step's budget out: a token to each sequence that lacks one, and the rest to the others in their order, so
 * that short prompts share a step and a long one takes several.
 * @param lefts tokens of each sequence that are not computed yet, at least 1, in order of right
 * @returns the number of tokens that each computes
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
 * Share of the budget that prompts in one step may fill. A longer prompt is read alone, so that no other's first token
 * waits for it.
 */
const togetherMax = 0.5;

/** Share of the budget that a step of prompts counts at least, however few tokens it reads. */
const stepMin = 0.125;

/** Share of its time in the queue that a sequence's prompt may wait for others' once it has a row. */
const patience = 1 / 16;

/**
 * Whether a sequence may wait a little longer for others that start soon. Its caller hardly notices after such a time
 * in the queue.
 */
export const hasPatience = ({ queuedAt, startedAt }: { queuedAt: number; startedAt: number }, now: number): boolean =>
  now - startedAt < patience * (startedAt - queuedAt);

export type Prompt = {
  /** Tokens that are not computed yet. */
  readonly left: number;
  /** Whether it may be read in a later step, with others: tokens of short steps cost most. */
  readonly canWait: boolean;
};

/**
 * Chooses the prompts that the next step reads, where prompts and answers have steps of their own. None means that the
 * answers have their turn. A processor computes both one after the other, so a step of prompts alone gives a first
 * token sooner, and answers wait for at most the budget either way.
 * @param prompts in the order in which they started
 * @param since prompt tokens that were read since a step last computed answers
 * @returns `since` as it is after this step
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
 * The sequences that decode in the next step: those of the least served flows, and within a flow those whose last turn
 * is longest ago. So a flow with hundreds of sequences does not make everybody's steps long.
 */
export function inTurn<T extends { readonly counter: number; readonly turn: number }>(
  decoding: readonly T[],
  most: number,
): T[] {
  if (decoding.length <= most) return [...decoding];
  return [...decoding].sort((a, b) => a.counter - b.counter || a.turn - b.turn).slice(0, most);
}
