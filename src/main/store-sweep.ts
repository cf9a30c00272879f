// Removes objects that no row of the database names from the store of contents, now and then.

import { systemClock, systemTimers } from '../core/clock.ts';
import { limits } from '../core/limits.ts';
import { finishedStates } from '../jobs/training-jobs.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Logger } from '../server/http/logger.ts';
import type { Database } from '../storage/database.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { sweepStoreAgain } from '../storage/sweep-store.ts';

type Parts = {
  readonly database: Database;
  /** null: contents are in the data dir, and nothing is swept. */
  readonly store: ObjectStore | null;
  readonly metrics: Metrics;
  readonly logger: Logger;
};

/**
 * Starts the sweep.
 * @returns a function that stops it
 */
export function startStoreSweep({ database, store, metrics, logger: log }: Parts): () => void {
  if (store === null) return () => {};
  const around = { clock: systemClock, timers: systemTimers, log };
  const sweep = sweepStoreAgain({ database, store, ...around, keptMs: limits.quarantineMs, finishedStates });
  metrics.readOrphans(() => sweep.last);
  return sweep.stop;
}
