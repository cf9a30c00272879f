// How a file system says that nothing can be written to it.

/** No space, the account's quota, the largest file that it can hold, mounted to be read only. */
const fullCodes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS']);

export const isDiskFull = (error: unknown): boolean => fullCodes.has((error as { code?: unknown } | null)?.code);
