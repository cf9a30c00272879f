// A full disk, however it shows, is an operating error with a code of its own.

import { isDiskFull } from '../core/disk-full.ts';
import { LorikeetError } from '../core/errors.ts';

/** SQLITE_FULL. */
const sqliteFull = 13;

/** Runs `work`, and says `storage_full` where the disk was. */
export async function orStorageFull<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isDiskFull(error) && (error as { errcode?: unknown }).errcode !== sqliteFull) throw error;
    throw new LorikeetError('storage_full', { cause: error });
  }
}
