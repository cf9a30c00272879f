// Computes a batch: over blocks in one run (block-compute.ts), over a device's rows in several (device-compute.ts).

import type { TopLogits } from '../sampling/draw-top.ts';
import type { ForwardBatch } from './forward-batch.ts';

export type Compute = {
  /**
   * Logits [sampled, vocabulary], or hidden rows [sampled, hidden], in the order of the parts, in a buffer that the
   * same model's next call overwrites.
   */
  forward(batch: ForwardBatch): Promise<Float32Array>;
  /**
   * Logits of the sampled rows in the form from which tokens are chosen.
   * @param temperatures of the sampled rows
   */
  logitsOf(batch: ForwardBatch, temperatures: readonly number[]): Promise<SampledLogits>;
  /** Releases what is bound to a model that is about to be removed. */
  dropModel(id: number): void;
};

export type SampledLogits = {
  /** [vocabulary], or the best logits where the others stay in a device's memory. */
  readonly rows: readonly (Float32Array | TopLogits)[];
  /** Whole rows [vocabulary] by number; must be called before the next run. */
  whole(rows: readonly number[]): Promise<Float32Array[]>;
};
