// Chooses the next token from logits, in vLLM's order: logits processors, temperature, min-p, top-k, top-p.

import { limits } from '../../core/limits.ts';
import { prng } from '../../core/prng.ts';
import type { SamplingParams } from '../../core/sampling-params.ts';
import type { Constraint } from '../../grammar/grammar-thread.ts';
import { argmax, LogitsNotFinite, row } from './argmax.ts';
import { type Dice, drawBeyond, drawWhole } from './draw.ts';
import { drawTop, type TopLogits } from './draw-top.ts';
import { applyMask } from './grammar-mask.ts';
import { createLogitsProcessors } from './logits-processors.ts';

export type Sampler = {
  /** @param logits [vocabulary], changed in place by processors. Throws where they are not finite. */
  sample(logits: Float32Array): number;
  /**
   * As `sample`, from the best logits alone; null where they do not decide, and then `sample` must be called next for
   * the same token. Throws where a logit is not finite.
   */
  sampleTop(top: TopLogits): number | null;
  /**
   * As `sample`, under a grammar. The constraint first picks the first allowed token of a few, given in the order in
   * which they would be taken. Only where none of them is allowed does it make the whole mask. The first allowed of the
   * largest logits is the largest under the mask. The first allowed of tokens drawn one after the other without
   * replacement has the mask's distribution. Rejects with the constraint's error.
   */
  sampleFormed(logits: Float32Array, constraint: Constraint): Promise<number>;
};

/** What a draw from the best logits leaves to the draw from the whole row. */
type Left = { readonly dice: Dice; readonly without: readonly number[] };

/** @param prompt counts for the repetition penalty, as do the sampled tokens */
export function createSampler(params: SamplingParams, prompt: readonly number[], freshSeed: () => number): Sampler {
  const { temperature, topK, topP, minP, stopTokens } = params;
  const random = prng(params.seed ?? freshSeed());
  let processors = createLogitsProcessors(params, prompt);
  let left: Left | null = null;
  // Filters apply to what a mask leaves. A sequence with filters tries no tokens, and its mask is made during its next
  // step.
  const isFiltered = temperature > 0 && (topK > 0 || topP < 1 || minP > 0);
  let asked: Promise<number | null> | null = null;

  const roll = (): Dice => ({ where: random(), which: random() });
  const process = (logits: Float32Array) => {
    for (const processor of processors) processor.process(logits);
  };
  const accept = (token: number) => {
    for (const processor of processors) processor.accept(token);
    if (processors.some(({ isOver }) => isOver)) processors = processors.filter(({ isOver }) => !isOver);
    return token;
  };
  const draw = (logits: Float32Array) => {
    if (temperature === 0) return argmax(logits);
    const { dice, without } = left ?? { dice: roll(), without: [] };
    left = null;
    return without.length > 0 ? drawBeyond(logits, params, dice, without) : drawWhole(logits, params, dice);
  };
  const inOrder = (logits: Float32Array): number[] => {
    if (isFiltered) return [];
    argmax(logits);
    if (temperature === 0) return row.best(limits.tokensTried);
    return row.drawSome(temperature, Array.from({ length: limits.tokensTried }, random));
  };
  const underMask = (logits: Float32Array, { words, accept }: Constraint): number => {
    applyMask(words, logits);
    const token = draw(logits);
    accept(token);
    return token;
  };

  return {
    sample(logits) {
      process(logits);
      return accept(draw(logits));
    },
    sampleTop(top) {
      const { tokens, logits, mass, sharpMass } = top;
      if (!Number.isFinite(logits[0]! + mass + sharpMass)) throw new LogitsNotFinite();
      // A processor may lift any token, or forbid all of the best.
      if (processors.length > 0) return null;
      if (temperature === 0) return tokens[0]!;
      const dice = roll();
      const drawn = drawTop(top, params, dice);
      if (typeof drawn === 'number') return drawn;
      left = { dice, without: drawn === 'beyond' ? Array.from(tokens) : [] };
      return null;
    },
    async sampleFormed(logits, constraint) {
      process(logits);
      const token = (await (asked ?? constraint.first(inOrder(logits)))) ?? underMask(logits, constraint);
      if (isFiltered && !stopTokens.includes(token)) asked = constraint.first([]);
      return accept(token);
    },
  };
}
