// Draws a token from the logits of a whole vocabulary. Almost all of it is negligible, so exponentials are taken of the
// likely tokens only; the choice is still exact: see `drawWhole`.

import type { SamplingParams } from '../core/sampling-params.ts';
import { argmax } from './argmax.ts';

/** Tokens this many nats below the best are looked at only if the draw falls among them. */
const likelyNats = 16;

/** Two numbers in [0, 1), for every token, so that a seed's sequence does not depend on the path taken. */
export type Dice = { readonly where: number; readonly which: number };

/** Throws where the logits hold no number. */
export function drawWhole(logits: Float32Array, params: SamplingParams, { where, which }: Dice): number {
  const { temperature, topK, topP, minP } = params;
  const max = logits[argmax(logits)]!;
  if (topP === 1 && minP === 0) {
    const likely = collect(logits, max, temperature, likelyNats);
    const keepsThem = topK === 0 || topK > likely.tokens.length;
    const tailBound = (logits.length - likely.tokens.length) * Math.exp(-likelyNats);
    // The tail's share is at most tailBound / (likely + tailBound): above that the draw is surely among the likely, and
    // the bound is far too small for the exact sum to matter often.
    if (keepsThem && where * (likely.mass + tailBound) < likely.mass) return pick(likely, which);
    if (keepsThem) {
      const everything = Number.POSITIVE_INFINITY;
      const all =
        topK === 0 ? collect(logits, max, temperature, everything) : filtered(logits, max, params, everything);
      return pickFromTail(all, likely, where, which, tailBound);
    }
  }
  return pick(filtered(logits, max, params), which);
}

/**
 * `where` fell into [likely / (likely + bound), 1). Of that interval the true tail's part goes to the tail, the rest
 * back to the likely tokens, so that every token keeps its exact probability.
 */
function pickFromTail(all: Candidates, likely: Candidates, where: number, which: number, tailBound: number): number {
  const tailMass = Math.max(0, all.mass - likely.mass);
  const surely = likely.mass / (likely.mass + tailBound);
  const tailShare = tailMass / all.mass;
  if ((where - surely) / (1 - surely) >= tailShare / (1 - surely)) return pick(likely, which);
  const tail = restOf(all, new Set(likely.tokens));
  return tail.tokens.length > 0 ? pick(tail, which) : pick(likely, which);
}

function restOf({ tokens, weights }: Candidates, without: ReadonlySet<number>): Candidates {
  const places = [...tokens.keys()].filter((i) => !without.has(tokens[i]!));
  return candidatesOf(
    places.map((i) => tokens[i]!),
    places.map((i) => weights[i]!),
  );
}

/** Of the tokens that are not `without`; filters have let all pass. */
export function drawBeyond(
  logits: Float32Array,
  { temperature }: SamplingParams,
  { which }: Dice,
  without: ReadonlySet<number>,
): number {
  const all = collect(logits, logits[argmax(logits)]!, temperature, Number.POSITIVE_INFINITY);
  const rest = restOf(all, without);
  // Where it weighs nothing the device's sum was a rounding larger.
  return pick(rest.mass > 0 ? rest : all, which);
}

/** Tokens with weights exp((logit - max) / temperature). */
export type Candidates = {
  readonly tokens: readonly number[];
  readonly weights: readonly number[];
  readonly mass: number;
};

export const candidatesOf = (tokens: readonly number[], weights: readonly number[]): Candidates => ({
  ...{ tokens, weights },
  mass: weights.reduce((sum, weight) => sum + weight, 0),
});

/** All tokens within `nats` of the best, in the order of their ids. */
function collect(logits: Float32Array, max: number, temperature: number, nats: number): Candidates {
  const floor = max - nats * temperature;
  const tokens: number[] = [];
  const weights: number[] = [];
  let mass = 0;
  for (let token = 0; token < logits.length; token++) {
    if (logits[token]! < floor) continue;
    const weight = Math.exp((logits[token]! - max) / temperature);
    tokens.push(token);
    weights.push(weight);
    mass += weight;
  }
  return { tokens, weights, mass };
}

/**
 * What min-p, top-k and top-p leave, best first. Looks at the likely tokens only (`nats`), and again at all of them
 * where what was left out could change the answer.
 */
function filtered(logits: Float32Array, max: number, params: SamplingParams, nats = likelyNats): Candidates {
  const { temperature, topK, topP, minP } = params;
  const floorNats = minP > 0 ? -Math.log(minP) : Number.POSITIVE_INFINITY;
  const pool = collect(logits, max, temperature, Math.min(nats, floorNats));
  let missing = floorNats <= nats ? 0 : (logits.length - pool.tokens.length) * Math.exp(-nats);
  const order = pool.tokens.map((_, i) => i).sort((a, b) => pool.weights[b]! - pool.weights[a]! || a - b);
  let kept = order.length;
  if (topK > 0 && (topK <= kept || missing === 0)) {
    kept = Math.min(kept, topK);
    missing = 0;
  }
  const weights = order.slice(0, kept).map((i) => pool.weights[i]!);
  const mass = weights.reduce((sum, weight) => sum + weight, 0);
  const count = nucleus(weights, topP * mass);
  if (missing > 0 && nucleus(weights, topP * (mass + missing)) !== count) {
    return filtered(logits, max, params, Number.POSITIVE_INFINITY);
  }
  return candidatesOf(
    order.slice(0, count).map((i) => pool.tokens[i]!),
    weights.slice(0, count),
  );
}

/** How many of the weights, best first, reach `mass`; at least one. One more than there are if they don't. */
export function nucleus(weights: readonly number[], mass: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]!;
    if (sum >= mass) return i + 1;
  }
  return weights.length + 1;
}

/** `which` in [0, 1) along the candidates' cumulated weights. */
export function pick({ tokens, weights, mass }: Candidates, which: number): number {
  let rest = which * mass;
  for (let i = 0; i < tokens.length; i++) {
    rest -= weights[i]!;
    if (rest < 0) return tokens[i]!;
  }
  return tokens.at(-1)!;
}
