// An adapter as one row of a batch uses it.

import type { Placement } from './page-pool.ts';
import type { ResidentAdapter } from './resident-adapter.ts';

export type RowAdapter = {
  readonly adapter: ResidentAdapter;
  readonly scale: number;
  /** Its pages, which a decode step reads; a prefill reads the adapter itself. */
  readonly placement: Placement;
};
