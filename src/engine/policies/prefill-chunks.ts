// How many prompt tokens go into the next step beside the rows that decode. Pure.

export type PrefillChunk = { readonly row: number; readonly tokens: number };

export type PrefillingRow = {
  readonly row: number;
  /** Prompt tokens left. */
  readonly left: number;
  /** Whose turn it is: the least first; of equal ones the first given. */
  readonly turn: number;
};

/** Under a budget of tokens a step, in turn: short prompts share a step, a long one takes several. */
export function prefillChunks(rows: readonly PrefillingRow[], budget: number): PrefillChunk[] {
  const chunks: PrefillChunk[] = [];
  let rest = budget;
  for (const { row, left } of [...rows].sort((a, b) => a.turn - b.turn)) {
    if (rest === 0) break;
    const taken = Math.min(left, rest);
    chunks.push({ row, tokens: taken });
    rest -= taken;
  }
  return chunks;
}
