// Maps errors of SQLite and of the file system to the project's error codes.

import { isDiskFull } from '../../core/disk-full.ts';
import { type ErrorCode, LorikeetError } from '../../core/errors.ts';

/** Error codes by SQLite's primary result codes. */
const codes: Readonly<Record<number, ErrorCode>> = {
  5: 'storage_busy',
  6: 'storage_busy',
  // READONLY, IOERR, FULL, CANTOPEN: nothing can be written, whatever the reason.
  8: 'storage_full',
  10: 'storage_full',
  13: 'storage_full',
  14: 'storage_full',
  // CORRUPT, NOTADB.
  11: 'database_invalid',
  26: 'database_invalid',
};

/** null where the error is not about storage. */
export function storageError(error: unknown): LorikeetError | null {
  if (error instanceof LorikeetError) return error;
  const { errcode } = (error ?? {}) as { errcode?: unknown };
  const code = typeof errcode === 'number' ? codes[errcode & 0xff] : undefined;
  if (code !== undefined) return new LorikeetError(code, { cause: error });
  return isDiskFull(error) ? new LorikeetError('storage_full', { cause: error }) : null;
}
