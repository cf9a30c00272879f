// Chooses the next token from logits. Order of the steps is vLLM's: bias, penalties, temperature, min-p, top-k, top-p.

import { prng } from '../core/prng.ts';
import type { SamplingParams } from '../core/sampling-params.ts';
import { argmax, LogitsNotFinite } from './argmax.ts';
import { type Dice, drawBeyond, drawWhole } from './draw.ts';
import { drawTop, type TopLogits } from './draw-top.ts';

export type Sampler = {
  /** @param logits [vocabulary], changed in place by biases and penalties. Throws where they hold no number. */
  sample(logits: Float32Array): number;
  /**
   * The same from the best logits alone, or null where they do not decide: the token is then that of `sample`, which
   * must be next. Throws where a logit holds no number.
   */
  sampleTop(top: TopLogits): number | null;
};

/** Of a 32-bit float. */
const largest = 2 ** 128 - 2 ** 104;

/** What a draw from the best logits has left to one from all. */
type Left = { readonly dice: Dice; readonly without: ReadonlySet<number> };

/** @param prompt counts for the repetition penalty, as do the sampled tokens. */
export function createSampler(params: SamplingParams, prompt: readonly number[], freshSeed: () => number): Sampler {
  const { temperature, repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } = params;
  const random = prng(params.seed ?? freshSeed());
  const outputCounts = new Map<number, number>();
  const seen = new Set(repetitionPenalty === 1 ? [] : prompt);
  const penalised = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  let left: Left | null = null;

  const adjust = (logits: Float32Array) => {
    for (const [token, bias] of logitBias) logits[token]! += bias;
    if (repetitionPenalty !== 1) {
      for (const token of seen) {
        const logit = logits[token]!;
        const penalised = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
        // A penalty at its edge makes of a number no infinity.
        logits[token] = Number.isFinite(logit) ? Math.min(Math.max(penalised, -largest), largest) : logit;
      }
    }
    for (const [token, count] of outputCounts) logits[token]! -= frequencyPenalty * count + presencePenalty;
  };
  const roll = (): Dice => ({ where: random(), which: random() });
  const draw = (logits: Float32Array) => {
    const { dice, without } = left ?? { dice: roll(), without: new Set() };
    left = null;
    return without.size > 0 ? drawBeyond(logits, params, dice, without) : drawWhole(logits, params, dice);
  };

  return {
    sample(logits) {
      adjust(logits);
      const token = temperature === 0 ? argmax(logits) : draw(logits);
      if (penalised) {
        seen.add(token);
        outputCounts.set(token, (outputCounts.get(token) ?? 0) + 1);
      }
      return token;
    },
    sampleTop(top) {
      const { tokens, logits, mass, sharpMass } = top;
      if (!Number.isFinite(logits[0]! + mass + sharpMass)) throw new LogitsNotFinite();
      // Biases and penalties may lift any token.
      if (penalised || logitBias.length > 0) return null;
      if (temperature === 0) return tokens[0]!;
      const dice = roll();
      const drawn = drawTop(top, params, dice);
      if (typeof drawn === 'number') return drawn;
      left = { dice, without: new Set(drawn === 'beyond' ? Array.from(tokens) : []) };
      return null;
    },
  };
}
