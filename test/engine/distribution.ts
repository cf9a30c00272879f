// The distribution of draws by definition, and a test of counts against it.

import assert from 'node:assert/strict';
import type { SamplingParams } from '../../src/core/sampling-params.ts';

/** The definition: softmax at the temperature, then min-p, top-k, and top-p on what remains, normalised to 1. */
export function probabilities(logits: Float32Array, params: SamplingParams): number[] {
  const { temperature, topK, topP, minP } = params;
  const max = Math.max(...logits);
  const weights = [...logits].map((logit) => Math.exp((logit - max) / temperature));
  let order = [...weights.keys()].sort((a, b) => weights[b]! - weights[a]! || a - b);
  order = order.filter((token) => weights[token]! >= minP);
  if (topK > 0) order = order.slice(0, topK);
  const mass = order.reduce((sum, token) => sum + weights[token]!, 0);
  let cumulated = 0;
  const kept = order.filter((token) => {
    const before = cumulated;
    cumulated += weights[token]!;
    return before < topP * mass;
  });
  const total = kept.reduce((sum, token) => sum + weights[token]!, 0);
  return weights.map((weight, token) => (kept.includes(token) ? weight / total : 0));
}

/** Pearson's statistic; all classes with fewer than 5 expected draws are joined into one. */
export function assertDistributed(counts: readonly number[], expected: readonly number[]): void {
  const draws = counts.reduce((a, b) => a + b, 0);
  let [statistic, classes, rareCount, rareExpected] = [0, 0, 0, 0];
  for (const [i, count] of counts.entries()) {
    const mean = expected[i]! * draws;
    if (expected[i] === 0) assert.equal(count, 0, `${i} was drawn and has no probability`);
    if (mean < 5) {
      rareCount += count;
      rareExpected += mean;
    } else {
      statistic += (count - mean) ** 2 / mean;
      classes++;
    }
  }
  // Mean `degrees`, variance 2 * degrees: a statistic five deviations above occurs with one in a hundred thousand
  // seeds.
  const degrees = Math.max(classes - 1, 1);
  assert.ok(statistic < degrees + 5 * Math.sqrt(2 * degrees) + 4, `${statistic} for ${degrees} degrees of freedom`);
  assert.ok(Math.abs(rareCount - rareExpected) < 5 * Math.sqrt(rareExpected + 1), `${rareCount} of ${rareExpected}`);
}
