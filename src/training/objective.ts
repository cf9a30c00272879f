// What is minimised, as the trainer sees it: the loss of a micro-batch and its derivatives. The training graph
// implements it; a test may put a function of its own in its place.

import type { MicroBatch } from './micro-batch.ts';

export type Objective = {
  /**
   * Sum of `weight` * -logprob over the batch's targets. Adds its derivatives to `gradients`, which has the layout of
   * the parameters. `seed` determines what dropout drops.
   */
  gradients(batch: MicroBatch, weight: number, seed: number, gradients: Float32Array<ArrayBuffer>): Promise<number>;
  /** Natural logarithm of each target's probability, [S], without dropout; overwritten by the next call. */
  logprobs(batch: MicroBatch): Promise<Float32Array>;
};
