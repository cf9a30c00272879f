// An adapter as one row of a batch uses it.

import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { PageRange } from './page-memory.ts';
import type { Placement } from './page-pool.ts';
import type { ResidentAdapter } from './resident-adapter.ts';

export type RowAdapter = {
  readonly adapter: ResidentAdapter;
  readonly scale: number;
  /** The adapter's pages, which every run of the row reads. */
  readonly placement: Placement;
};

/** The pages that a row reads of a linear; undefined where its adapter leaves the linear alone. */
export function rangeOf({ adapter, placement }: RowAdapter, linear: JoinedLinear): PageRange | undefined {
  const range = placement.ranges.get(linear);
  // A row without its pages would silently compute the base's result.
  if (!range && adapter.linears.get(linear)?.pages) throw new Error(`a row has no pages of ${linear}`);
  return range;
}
