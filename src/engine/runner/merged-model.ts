// A merged model in the decoder, for modules that only choose which model runs.

import type { ScaledChange } from '../adapters/embedding-change.ts';

export type MergedModel = {
  readonly id: number;
  /** What the merged adapters add to rows of the embedding, scaled; applied where rows are looked up. */
  readonly embedding: readonly ScaledChange[];
};
