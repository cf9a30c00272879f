// Turns errors of storage, a full disk above all, into errors with codes of their own.

import { storageError } from './sqlite/storage-error.ts';

/** Runs `work`, and throws `storage_full`, `storage_busy` or `database_invalid` where storage was at fault. */
export async function orStorageFull<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error) ?? error;
  }
}
