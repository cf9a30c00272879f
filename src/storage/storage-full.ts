// A full disk, however it shows, is an operating error with a code of its own.

import { storageError } from './sqlite/storage-error.ts';

/** Runs `work`, and says `storage_full` or `storage_busy` where the storage was. */
export async function orStorageFull<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error) ?? error;
  }
}
