// What computes a batch: over blocks in one run (block-compute.ts), over rows of a device in several
// (device-compute.ts).

import type { TopLogits } from '../sampling/draw-top.ts';
import type { ForwardBatch } from './forward-batch.ts';

export type Compute = {
  /**
   * Logits [sampled, vocabulary], or hidden rows [sampled, hidden], in the order of the parts, in a buffer that the
   * same model's next call overwrites.
   */
  forward(batch: ForwardBatch): Promise<Float32Array>;
  /**
   * The same as tokens are chosen from.
   * @param temperatures of the sampled rows
   */
  logitsOf(batch: ForwardBatch, temperatures: readonly number[]): Promise<SampledLogits>;
  /** A model goes: nothing stays tied to it. */
  dropModel(id: number): void;
};

export type SampledLogits = {
  /** [vocabulary], or the best of them where the others stay in a device's memory. */
  readonly rows: readonly (Float32Array | TopLogits)[];
  /** Rows by number, each [vocabulary]; before the next call. */
  whole(rows: readonly number[]): Promise<Float32Array[]>;
};
