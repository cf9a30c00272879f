// How many prompt tokens go into the next step beside the rows that decode. Pure.

export type PrefillChunk = { readonly row: number; readonly tokens: number };

/**
 * First come, first served under a budget of tokens a step: short prompts share a step, a long one takes several.
 * @param left prompt tokens left of each row that prefills, oldest first: row `firstRow`, `firstRow` + 1, ...
 */
export function prefillChunks(left: readonly number[], firstRow: number, budget: number): PrefillChunk[] {
  const chunks: PrefillChunk[] = [];
  let rest = budget;
  for (const [i, tokens] of left.entries()) {
    if (rest === 0) break;
    const taken = Math.min(tokens, rest);
    chunks.push({ row: firstRow + i, tokens: taken });
    rest -= taken;
  }
  return chunks;
}
