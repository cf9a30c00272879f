// Where rank pages lie: for every part of every joined linear, in each layer, a pool of pages
//
//   a [slots, 8, in]   b [slots, 8, out]
//
// `PagePool` says whose they are.

import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { ResidentLinear } from './resident-adapter.ts';

export type PageRange = { readonly first: number; readonly pages: number };

export type PageMemory = {
  readonly bytes: number;
  /** Writes a linear of an adapter, all its layers, into pages; returns how many bytes that was. */
  fill(linear: JoinedLinear, range: PageRange, resident: ResidentLinear): Promise<number>;
  release(): void;
};
