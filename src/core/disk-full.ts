// How a file system says that it has no more room.

/** No space, the account's quota, the largest file that it can hold. */
const fullCodes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export const isDiskFull = (error: unknown): boolean => fullCodes.has((error as { code?: unknown } | null)?.code);
