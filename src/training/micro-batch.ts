// Packed rows as the arrays that the training graph reads.

import type { PackedLines } from './packing.ts';
import type { TokenRow } from './token-row.ts';

/** B lines of T tokens with S targets, all int64 as the graph takes them. */
export type MicroBatch = {
  readonly lines: number;
  readonly length: number;
  /** [B, T] */
  readonly tokens: BigInt64Array<ArrayBuffer>;
  /** [B, T]: position within the token's own row. */
  readonly positions: BigInt64Array<ArrayBuffer>;
  /** [B, T]: index of the token's row in its line; -1 for padding. */
  readonly segments: BigInt64Array<ArrayBuffer>;
  /** [S]: indices into [B * T] of tokens whose next token the loss counts. */
  readonly sampled: BigInt64Array<ArrayBuffer>;
  /** [S]: those next tokens. */
  readonly labels: BigInt64Array<ArrayBuffer>;
};

export function microBatch({ length, lines }: PackedLines, rows: readonly TokenRow[]): MicroBatch {
  const places = lines.length * length;
  const tokens = new BigInt64Array(places);
  const positions = new BigInt64Array(places);
  const segments = new BigInt64Array(places).fill(-1n);
  const sampled: bigint[] = [];
  const labels: bigint[] = [];
  for (const [line, inLine] of lines.entries()) {
    let place = line * length;
    for (const [segment, index] of inLine.entries()) {
      const row = rows[index]!;
      for (let i = 0; i < row.tokens.length; i++, place++) {
        const token = BigInt(row.tokens[i]!);
        tokens[place] = token;
        positions[place] = BigInt(i);
        segments[place] = BigInt(segment);
        if (row.counted[i] !== 1) continue;
        sampled.push(BigInt(place - 1));
        labels.push(token);
      }
    }
  }
  const targets = { sampled: BigInt64Array.from(sampled), labels: BigInt64Array.from(labels) };
  return { lines: lines.length, length, tokens, positions, segments, ...targets };
}
