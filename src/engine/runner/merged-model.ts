// A merged model in the decoder, as those see it who only say which one runs.

import type { ScaledChange } from '../adapters/embedding-change.ts';

export type MergedModel = {
  readonly id: number;
  /** Rows of the embedding are looked up with what its adapters add to them, with all scales. */
  readonly embedding: readonly ScaledChange[];
};
