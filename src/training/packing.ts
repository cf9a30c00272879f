// Packs the rows of one optimiser step into micro-batches of lines. Short rows share a line, each attending to itself
// alone, so that little is computed on padding. Knows lengths and no tokens; the same lengths give the same packing.

/** A rectangle of `lines.length` lines of `length` tokens; each line lists its rows, by their index in the step. */
export type PackedLines = { readonly length: number; readonly lines: readonly (readonly number[])[] };

type Line = { readonly rows: number[]; used: number };

/**
 * First fit, longest first, into lines as long as the longest row. No rectangle has more than `tokensMax` tokens,
 * padding included, except for one row that is longer by itself.
 */
export function packRows(lengths: readonly number[], tokensMax: number): PackedLines[] {
  const capacity = Math.max(...lengths);
  // Sorting is stable: equal lengths keep their order.
  const order = [...lengths.keys()].sort((a, b) => lengths[b]! - lengths[a]!);
  const lines: Line[] = [];
  for (const row of order) {
    const length = lengths[row]!;
    const line = lines.find(({ used }) => used + length <= capacity);
    if (line === undefined) lines.push({ rows: [row], used: length });
    else {
      line.rows.push(row);
      line.used += length;
    }
  }
  return intoRectangles(lines, tokensMax);
}

function intoRectangles(lines: readonly Line[], tokensMax: number): PackedLines[] {
  const ordered = lines.toSorted((a, b) => b.used - a.used);
  const packed: PackedLines[] = [];
  for (let at = 0; at < ordered.length; ) {
    const length = ordered[at]!.used;
    const count = Math.max(1, Math.floor(tokensMax / length));
    packed.push({ length, lines: ordered.slice(at, at + count).map(({ rows }) => rows) });
    at += count;
  }
  return packed;
}
