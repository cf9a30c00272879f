// A merge that serves, as the sequences on it see it.

import type { WeightBits } from '../../protocol/messages.ts';
import type { MergedModel } from '../runner/merged-model.ts';

export type Merge = {
  /** `mergeKey` of its adapters. */
  readonly key: string;
  readonly model: MergedModel;
  readonly bits: WeightBits;
};
