// Draws a token from the best logits of a row whose other logits stay in a device's memory. The choice is exact: where
// the best logits do not decide, the whole row has to be fetched.

import type { SamplingParams } from '../../core/sampling-params.ts';
import { candidatesOf, type Dice, nucleus, pick } from './draw.ts';

export type TopLogits = {
  /** The best first; among equals the lower id first. */
  readonly tokens: ArrayLike<number>;
  readonly logits: ArrayLike<number>;
  /** Sums over the whole vocabulary: `mass` of exp(logit - best), `sharpMass` of exp((logit - best) / temperature). */
  readonly mass: number;
  readonly sharpMass: number;
  readonly vocabulary: number;
};

/**
 * A token, or why the best logits do not decide. `whole`: filters reach beyond the best, so the whole row decides.
 * `beyond`: the token is none of the best, and is drawn from the others.
 */
export type Drawn = number | 'whole' | 'beyond';

export function drawTop(top: TopLogits, params: SamplingParams, { where, which }: Dice): Drawn {
  const { temperature, topK, topP, minP } = params;
  const { tokens, logits, vocabulary, sharpMass } = top;
  const weights = Array.from(logits, (logit) => Math.exp((logit - logits[0]!) / temperature));
  const likely = minP > 0 ? weights.filter((weight) => weight >= minP).length : weights.length;
  const kept = topK > 0 ? Math.min(topK, likely) : likely;
  const isAllThatIsKept = kept < weights.length || kept === topK || kept === vocabulary;
  if (!isAllThatIsKept && (minP > 0 || topK > 0)) return 'whole';
  const bestOf = (count: number) => candidatesOf(Array.from(tokens).slice(0, count), weights.slice(0, count));
  const best = bestOf(kept);
  if (topP === 1 && isAllThatIsKept) return pick(best, which);
  if (topP === 1) return where * sharpMass < best.mass ? pick({ ...best, mass: sharpMass }, where) : 'beyond';
  const count = nucleus(best.weights, topP * (isAllThatIsKept ? best.mass : sharpMass));
  if (count > kept && !isAllThatIsKept) return 'whole';
  return pick(bestOf(Math.min(count, kept)), which);
}
