// Draws a token from the logits of a whole vocabulary, or from a few candidates.

import type { SamplingParams } from '../../core/sampling-params.ts';
import { argmax, row } from './argmax.ts';

/** Two numbers in [0, 1), rolled for every token, so that a seed's sequence does not depend on the path taken. */
export type Dice = { readonly where: number; readonly which: number };

/** Throws `LogitsNotFinite`. */
export function drawWhole(logits: Float32Array, params: SamplingParams, { where, which }: Dice): number {
  const { temperature, topK, topP, minP } = params;
  argmax(logits);
  if (topP === 1 && minP === 0 && topK === 0) return row.draw(temperature, where);
  return row.drawFiltered(params, which);
}

/** Draws among the tokens outside `without`, where no filter is active. */
export function drawBeyond(
  logits: Float32Array,
  { temperature }: SamplingParams,
  { which }: Dice,
  without: readonly number[],
): number {
  const rest = logits.slice();
  for (const token of without) rest[token] = Number.NEGATIVE_INFINITY;
  argmax(rest);
  return row.draw(temperature, which);
}

/** Tokens with their weights exp((logit - max) / temperature), and the weights' sum. */
export type Candidates = {
  readonly tokens: readonly number[];
  readonly weights: readonly number[];
  readonly mass: number;
};

export const candidatesOf = (tokens: readonly number[], weights: readonly number[]): Candidates => ({
  ...{ tokens, weights },
  mass: weights.reduce((sum, weight) => sum + weight, 0),
});

/**
 * How many of the weights, best first, reach `mass`, at least one; their number plus one where they do not reach it.
 */
export function nucleus(weights: readonly number[], mass: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]!;
    if (sum >= mass) return i + 1;
  }
  return weights.length + 1;
}

/** The candidate at the share `which`, in [0, 1), of the cumulated weights. */
export function pick({ tokens, weights, mass }: Candidates, which: number): number {
  let rest = which * mass;
  for (let i = 0; i < tokens.length; i++) {
    rest -= weights[i]!;
    if (rest < 0) return tokens[i]!;
  }
  return tokens.at(-1)!;
}
