// A decode step whose logits stay in a device's memory.

import type { TopLogits } from './draw-top.ts';
import type { ForwardBatch } from './forward-batch.ts';

/** @param temperatures of the sampled rows */
export type ForwardTop = (batch: ForwardBatch, temperatures: readonly number[]) => Promise<TopRows>;

export type TopRows = {
  readonly rows: readonly TopLogits[];
  /** Rows by number, each [vocabulary]; before the next call. */
  whole(rows: readonly number[]): Promise<Float32Array[]>;
};
