// What a merge takes beside the base, said before it is made.

import type { LinearBits, LoweredModel } from '../../graph/lowered.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { mergedBytes } from './merge-model.ts';

/** A merged weight as it is, and packed by the graph of each phase: they pack for themselves, and not alike. */
const copies = 3;

export const mergeMemory = (base: LoweredModel, adapter: ResidentAdapter, bits: LinearBits | null): number =>
  copies * mergedBytes(base, adapter, bits);
