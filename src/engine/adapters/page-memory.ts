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
  /** Prefills read pages, too, and not the adapter itself. */
  readonly servesPrefills: boolean;
  /** Writes a linear of an adapter, all its layers, into pages; returns how many bytes that was. */
  fill(linear: JoinedLinear, range: PageRange, resident: ResidentLinear): Promise<number>;
  release(): void;
};

/** A page at the end that nobody takes: a range may have to be longer than what is taken of it. */
export const sparePages = 1;
