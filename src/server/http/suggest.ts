// Finds the known name that a caller may have meant.

/** Other servers' names of parameters, which are too far from this server's for the edit distance. */
const synonyms: Readonly<Record<string, string>> = {
  max_completion_tokens: 'max_tokens',
  max_new_tokens: 'max_tokens',
  n_predict: 'max_tokens',
  model: 'adapter_id',
  lora: 'adapters',
  inputs: 'prompt',
  stop_sequences: 'stop',
  top_logprobs: 'logprobs',
};

/** @returns the name of `known` that is a synonym of `name`, or the nearest within two edits; else null */
export function suggest(name: string, known: readonly string[]): string | null {
  const synonym = synonyms[name];
  if (synonym !== undefined && known.includes(synonym)) return synonym;
  let best: string | null = null;
  let bestDistance = 3;
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
    const distance = editDistance(name, candidate);
    if (distance < bestDistance && distance < candidate.length) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein distance, one row of the table at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
