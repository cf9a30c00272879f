import type { TopLogits } from '../../src/engine/sampling/draw-top.ts';

/** The best logits and masses of a row by definition, as a device gives them. */
export function topOf(row: Float32Array, count: number, temperature: number): TopLogits {
  const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, count);
  const best = row[order[0]!]!;
  const massAt = (temperature: number) => row.reduce((sum, logit) => sum + Math.exp((logit - best) / temperature), 0);
  const logits = order.map((token) => row[token]!);
  return {
    ...{ tokens: order, logits, vocabulary: row.length },
    mass: massAt(1),
    sharpMass: massAt(temperature || 1),
  };
}
