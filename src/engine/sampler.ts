// Chooses the next token from logits. Order of the steps is vLLM's: bias, penalties, temperature, min-p, top-k, top-p.
//
// The vocabulary is large and almost all of it is negligible, so exponentials are taken of the likely tokens only. The
// choice is still exact: see `draw`.

import { type Prng, prng } from '../core/prng.ts';
import type { SamplingParams } from '../core/sampling-params.ts';

export type Sampler = {
  /** @param logits [vocabulary], changed in place by biases and penalties. Throws where they hold no number. */
  sample(logits: Float32Array): number;
};

/** Tokens this many nats below the best are looked at only if the draw falls among them. */
const likelyNats = 16;

/** @param prompt counts for the repetition penalty, as do the sampled tokens. */
export function createSampler(params: SamplingParams, prompt: readonly number[], freshSeed: () => number): Sampler {
  const { temperature, repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } = params;
  const random = prng(params.seed ?? freshSeed());
  const outputCounts = new Map<number, number>();
  const seen = new Set(repetitionPenalty === 1 ? [] : prompt);
  const penalised = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;

  const adjust = (logits: Float32Array) => {
    for (const [token, bias] of logitBias) logits[token]! += bias;
    if (repetitionPenalty !== 1) {
      for (const token of seen) {
        const logit = logits[token]!;
        logits[token] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
      }
    }
    for (const [token, count] of outputCounts) logits[token]! -= frequencyPenalty * count + presencePenalty;
  };

  return {
    sample(logits) {
      adjust(logits);
      const token = temperature === 0 ? argmax(logits) : draw(logits, params, random);
      if (penalised) {
        seen.add(token);
        outputCounts.set(token, (outputCounts.get(token) ?? 0) + 1);
      }
      return token;
    },
  };
}

/** Weights, or an adapter's, that overflow; or a runtime that is broken. */
export class LogitsNotFinite extends Error {
  constructor() {
    super('The logits are not finite: the weights or the runtime are broken.');
    this.name = 'LogitsNotFinite';
  }
}

/** The first of the largest. */
export function argmax(logits: Float32Array): number {
  let best = -1;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    // NaN compares with nothing, so it does not pass here.
    if (logits[i]! <= max) continue;
    max = logits[i]!;
    best = i;
    if (Number.isNaN(max)) break;
  }
  if (!Number.isFinite(max)) throw new LogitsNotFinite();
  return best;
}

function draw(logits: Float32Array, params: SamplingParams, random: Prng): number {
  const { temperature, topK, topP, minP } = params;
  const max = logits[argmax(logits)]!;
  // Two numbers whatever happens, so that a seed's sequence does not depend on the path taken.
  const where = random();
  const which = random();
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
  const isLikely = new Set(likely.tokens);
  const tail: Candidates = { tokens: [], weights: [], mass: tailMass };
  for (const [i, token] of all.tokens.entries()) {
    if (isLikely.has(token)) continue;
    tail.tokens.push(token);
    tail.weights.push(all.weights[i]!);
  }
  return tail.tokens.length > 0 ? pick(tail, which) : pick(likely, which);
}

/** Tokens with weights exp((logit - max) / temperature). */
type Candidates = { readonly tokens: number[]; readonly weights: number[]; readonly mass: number };

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
  const chosen = weights.slice(0, count);
  return {
    tokens: order.slice(0, count).map((i) => pool.tokens[i]!),
    weights: chosen,
    mass: chosen.reduce((sum, weight) => sum + weight, 0),
  };
}

/** How many of the weights, best first, reach `mass`; at least one. One more than there are if they don't. */
function nucleus(weights: readonly number[], mass: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]!;
    if (sum >= mass) return i + 1;
  }
  return weights.length + 1;
}

/** `which` in [0, 1) along the candidates' cumulated weights. */
function pick({ tokens, weights, mass }: Candidates, which: number): number {
  let rest = which * mass;
  for (let i = 0; i < tokens.length; i++) {
    rest -= weights[i]!;
    if (rest < 0) return tokens[i]!;
  }
  return tokens.at(-1)!;
}
