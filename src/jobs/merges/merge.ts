// What a merge is to the server: which versions of whose adapters, who wanted it, and how far the engine is with it.

import type { ErrorCode } from '../../core/errors.ts';
import type { MergeQuality, WeightBits } from '../../protocol/messages.ts';

/** One version in a merge. `scale` multiplies what it adds. */
export type MergedAdapter = {
  readonly name: string;
  readonly version: number;
  readonly digest: string;
  readonly scale: number;
};

/** What the engine said of a merge that it had made. */
export type MergeFigures = {
  /** Of the merged linears. */
  readonly bits: WeightBits;
  /** Beside the base's. */
  readonly bytes: number;
  readonly ms: number;
  readonly quality: MergeQuality | null;
};

export type MergeFailure = { readonly code: ErrorCode; readonly message: string };

export type MergeState = 'merging' | 'merged' | 'draining' | 'failed' | 'unmerged';

export type Merge = {
  readonly tenant: string;
  /** Which weights: contents and scales. */
  readonly key: string;
  readonly adapters: readonly MergedAdapter[];
  /** As asked for; null: each linear's own. */
  readonly bitsAsked: WeightBits | null;
  readonly automatic: boolean;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Prefix of the key that asked for it; null on a server without keys, and for an automatic one. */
  readonly createdBy: string | null;
  readonly state: MergeState;
  /** 0..1 while it is merging; 1 once it is merged. */
  readonly progress: number;
  /** The clock's monotonic reading when the engine had made it; null while it has not. */
  readonly since: number | null;
  /** Of the last time that it was merged, which may have been before a restart. */
  readonly figures: MergeFigures | null;
  readonly failure: MergeFailure | null;
};
