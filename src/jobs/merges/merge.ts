// What the server knows of a merge: its tenant and versions, who asked for it, and the engine's state of it.

import type { ErrorCode } from '../../core/errors.ts';
import type { MergeQuality, WeightBits } from '../../protocol/messages.ts';

/** One version in a merge. `scale` multiplies its delta. */
export type MergedAdapter = {
  readonly name: string;
  readonly version: number;
  readonly digest: string;
  readonly scale: number;
};

/** The engine's figures of a finished merge. */
export type MergeFigures = {
  /** Bits of the merged linears. */
  readonly bits: WeightBits;
  /** Bytes beside the base's weights. */
  readonly bytes: number;
  readonly ms: number;
  readonly quality: MergeQuality | null;
};

export type MergeFailure = { readonly code: ErrorCode; readonly message: string };

export type MergeState = 'merging' | 'merged' | 'draining' | 'failed' | 'unmerged';

export type Merge = {
  readonly tenant: string;
  /** Names the weights by digests and scales. */
  readonly key: string;
  readonly adapters: readonly MergedAdapter[];
  /** Bits as asked for; null: each linear's own. */
  readonly bitsAsked: WeightBits | null;
  readonly automatic: boolean;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Prefix of the key that asked for it; null on a server without keys, and for an automatic merge. */
  readonly createdBy: string | null;
  readonly state: MergeState;
  /** 0..1 while it is merging; 1 once it is merged. */
  readonly progress: number;
  /** When the engine had made it, in milliseconds of the monotonic clock; null until then. */
  readonly since: number | null;
  /** Figures of its last completed merge, which may have been before a restart. */
  readonly figures: MergeFigures | null;
  readonly failure: MergeFailure | null;
};
