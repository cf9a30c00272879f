// A full disk, however it shows, is an operating error with a code of its own.

import { LorikeetError } from '../core/errors.ts';

/** The file system's words for it: no space, the account's quota, the largest file that it can hold. */
const fullCodes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
/** SQLITE_FULL. */
const sqliteFull = 13;

/** Runs `work`, and says `storage_full` where the disk was. */
export async function orStorageFull<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, errcode } = error as { code?: unknown; errcode?: unknown };
    if (!fullCodes.has(code) && errcode !== sqliteFull) throw error;
    throw new LorikeetError('storage_full', { cause: error });
  }
}
