// Recognises the errors with which a file system says that nothing can be written to it.

/** Error codes for: no space left, the account's quota, the largest possible file, a file system mounted read-only. */
const fullCodes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS']);

export const isDiskFull = (error: unknown): boolean => fullCodes.has((error as { code?: unknown } | null)?.code);
