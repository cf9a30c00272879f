// Whether anything can be written: the data dir is writable, its disk has room, and the database takes a write (which
// is rolled back, so that nothing is flushed). A background check finds out at most every few seconds; a caller gets
// the last result.

import { access, constants, statfs } from 'node:fs/promises';
import { sql } from 'kysely';
import type { Clock } from '../core/clock.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Database } from './database.ts';
import { storageError } from './sqlite/storage-error.ts';

export type StorageHealth = {
  /**
   * `storage_full` (also where the disk is mounted read-only), `storage_busy`, `database_invalid`, or
   * `storage_unavailable` for any other failure; null: no problem, or no result yet. Starts a new check where the last
   * one is old.
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
    found = await problemOf(database, dataDir);
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
  try {
    await access(dataDir, constants.W_OK);
    const { bavail, bsize } = await statfs(dataDir);
    if (bavail * bsize < freeBytesMin) return 'storage_full';
    await database.transaction().execute(async (transaction) => {
      await sql`UPDATE installation SET created_at = created_at`.execute(transaction);
      throw new TakenBack();
    });
    return null;
  } catch (error) {
    return error instanceof TakenBack ? null : (storageError(error)?.code ?? 'storage_unavailable');
  }
}
