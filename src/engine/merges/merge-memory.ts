// What a merge takes beside the base, said before it is made.

import type { LinearBits, LoweredModel } from '../../graph/lowered.ts';
import type { GraphTarget } from '../../graph/target.ts';
import { changeBytes } from '../adapters/embedding-change.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { mergedBytes } from './merge-model.ts';

/**
 * On the host a merged weight is where it was made. On a device: what was sent there, what it was sent from, and the
 * packing that that was made of.
 */
const copies = { host: 1, device: 3 } as const;

export const mergeMemory = (
  base: LoweredModel,
  adapter: ResidentAdapter,
  bits: LinearBits | null,
  on: GraphTarget['on'],
): number => copies[on] * mergedBytes(base, adapter, bits) + changeBytes(adapter.embedding);
