// Bytes that a merge takes beside the base, known before it is made.

import type { LinearBits, LoweredModel } from '../../graph/lowered.ts';
import type { GraphTarget } from '../../graph/target.ts';
import { changeBytes } from '../adapters/embedding-change.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { mergedBytes } from './merge-model.ts';

/**
 * Copies of a merged weight. The host has the one that was made. A device has that one, the form in which it is sent,
 * and what was sent.
 */
const copies = { host: 1, device: 3 } as const;

export const mergeMemory = (
  base: LoweredModel,
  adapter: ResidentAdapter,
  bits: LinearBits | null,
  on: GraphTarget['on'],
): number => copies[on] * mergedBytes(base, adapter, bits) + changeBytes(adapter.embedding);
