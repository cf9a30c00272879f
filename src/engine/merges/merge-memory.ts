// What a merge takes beside the base, said before it is made.

import type { LinearBits, LoweredModel } from '../../graph/lowered.ts';
import type { GraphTarget } from '../../graph/target.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { mergedBytes } from './merge-model.ts';

/**
 * On the host a merged weight as it is, and packed by the graph of each phase: they pack for themselves, and not alike.
 * On a device both phases are one graph: what was sent there, and what it was sent from.
 */
const copies = { host: 3, device: 2 } as const;

export const mergeMemory = (
  base: LoweredModel,
  adapter: ResidentAdapter,
  bits: LinearBits | null,
  on: GraphTarget['on'],
): number => copies[on] * mergedBytes(base, adapter, bits);
