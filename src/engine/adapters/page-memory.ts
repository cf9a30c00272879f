// Where rank pages lie: for every part of every joined linear, in each layer, a pool of pages
//
//   a [slots, 8, in]   b [slots, 8, out]
//
// which graphs read as ranges. `PagePool` says whose they are.

import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Tensor } from '../../runtime/session.ts';
import type { ResidentLinear } from './resident-adapter.ts';

export type PageRange = { readonly first: number; readonly pages: number };

export type PageMemory = {
  readonly bytes: number;
  /** A part's pages in one layer, as graphs take them in a form: the caller releases them. */
  tie(form: 'one' | 'mixed', place: PagePlace): { readonly a: Tensor; readonly b: Tensor };
  /** Writes a linear of an adapter, all its layers, into pages; returns how many bytes that was. */
  fill(linear: JoinedLinear, range: PageRange, resident: ResidentLinear): Promise<number>;
  release(): void;
};

export type PagePlace = {
  readonly linear: JoinedLinear;
  readonly part: number;
  readonly layer: number;
  readonly range: PageRange;
};

/** A page at the end that nobody takes: a range may have to be longer than what is taken of it. */
export const sparePages = 1;
