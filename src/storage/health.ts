// Whether anything can be written: the database takes a write (which is rolled back, so that nothing is flushed) and
// the disk has room. A background check finds out at most every few seconds; a caller gets the last result.

import { statfs } from 'node:fs/promises';
import { sql } from 'kysely';
import type { Clock } from '../core/clock.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Database } from './database.ts';
import { storageError } from './sqlite/storage-error.ts';

export type StorageHealth = {
  /**
   * `storage_full` or `storage_busy`; null: no problem, or no result yet. Starts a new check where the last one is old.
   */
  problem(): ErrorCode | null;
};

const lookMs = 5000;
/** Free space below which the disk counts as full: a database needs more for its own work. */
const freeBytesMin = 16 * 1024 ** 2;

export function storageHealth(database: Database, dataDir: string, clock: Clock): StorageHealth {
  let found: ErrorCode | null = null;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let isLooking = false;
  const look = async () => {
    isLooking = true;
    found = await problemOf(database, dataDir).catch(() => 'storage_full' as const);
    lookedAt = clock.monotonic();
    isLooking = false;
  };
  return {
    problem() {
      if (!isLooking && clock.monotonic() - lookedAt >= lookMs) void look();
      return found;
    },
  };
}

class TakenBack extends Error {}

async function problemOf(database: Database, dataDir: string): Promise<ErrorCode | null> {
  const { bavail, bsize } = await statfs(dataDir);
  if (bavail * bsize < freeBytesMin) return 'storage_full';
  try {
    await database.transaction().execute(async (transaction) => {
      await sql`UPDATE installation SET created_at = created_at`.execute(transaction);
      throw new TakenBack();
    });
    return null;
  } catch (error) {
    return error instanceof TakenBack ? null : (storageError(error)?.code ?? 'storage_full');
  }
}
