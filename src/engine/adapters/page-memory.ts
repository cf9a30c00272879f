// Where rank pages lie: for every part of every joined linear, in each layer, a pool of pages of A and one of B. Each
// implementation has a layout of its own. `PagePool` knows which adapter's pages are where.

import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { ResidentLinear } from './resident-adapter.ts';

export type PageRange = { readonly first: number; readonly pages: number };

export type PageMemory = {
  readonly bytes: number;
  /** Writes a linear of an adapter, all its layers, into pages; returns the number of bytes. */
  fill(linear: JoinedLinear, range: PageRange, resident: ResidentLinear): Promise<number>;
  release(): void;
};
