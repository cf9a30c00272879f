// Chooses the next token from logits, in vLLM's order: logits processors, temperature, min-p, top-k, top-p.

import { prng } from '../../core/prng.ts';
import type { SamplingParams } from '../../core/sampling-params.ts';
import { argmax, LogitsNotFinite } from './argmax.ts';
import { type Dice, drawBeyond, drawWhole } from './draw.ts';
import { drawTop, type TopLogits } from './draw-top.ts';
import { createLogitsProcessors, type LogitsProcessor } from './logits-processors.ts';

export type Sampler = {
  /** @param logits [vocabulary], changed in place by processors. Throws where they hold no number. */
  sample(logits: Float32Array): number;
  /**
   * The same from the best logits alone, or null where they do not decide: the token is then that of `sample`, which
   * must be next. Throws where a logit holds no number.
   */
  sampleTop(top: TopLogits): number | null;
};

/** What a draw from the best logits has left to one from all. */
type Left = { readonly dice: Dice; readonly without: readonly number[] };

/**
 * @param prompt counts for the repetition penalty, as do the sampled tokens
 * @param mask a processor that comes after all others
 */
export function createSampler(
  params: SamplingParams,
  prompt: readonly number[],
  freshSeed: () => number,
  mask: LogitsProcessor | null = null,
): Sampler {
  const { temperature } = params;
  const random = prng(params.seed ?? freshSeed());
  let processors = createLogitsProcessors(params, prompt);
  if (mask !== null) processors.push(mask);
  let left: Left | null = null;

  const roll = (): Dice => ({ where: random(), which: random() });
  const draw = (logits: Float32Array) => {
    const { dice, without } = left ?? { dice: roll(), without: [] };
    left = null;
    return without.length > 0 ? drawBeyond(logits, params, dice, without) : drawWhole(logits, params, dice);
  };

  return {
    sample(logits) {
      for (const processor of processors) processor.process(logits);
      const token = temperature === 0 ? argmax(logits) : draw(logits);
      for (const processor of processors) processor.accept(token);
      if (processors.some(({ isOver }) => isOver)) processors = processors.filter(({ isOver }) => !isOver);
      return token;
    },
    sampleTop(top) {
      const { tokens, logits, mass, sharpMass } = top;
      if (!Number.isFinite(logits[0]! + mass + sharpMass)) throw new LogitsNotFinite();
      // A processor may lift any token, or forbid all of these.
      if (processors.length > 0) return null;
      if (temperature === 0) return tokens[0]!;
      const dice = roll();
      const drawn = drawTop(top, params, dice);
      if (typeof drawn === 'number') return drawn;
      left = { dice, without: drawn === 'beyond' ? Array.from(tokens) : [] };
      return null;
    },
  };
}
