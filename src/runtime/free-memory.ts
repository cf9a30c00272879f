// Gives memory that is free back to the system. A released session leaves holes among small blocks that others still
// have, and glibc keeps their pages: merging and unmerging six times left 150 MB behind, and with this none.

import { libcFunction } from './libc.ts';

const mallocTrim = libcFunction<[padding: number]>('int malloc_trim(size_t padding)');

/** Off the event loop, some 20 ms. Does nothing where the C library is another one. */
export async function giveBackFreeMemory(): Promise<void> {
  const trim = mallocTrim();
  if (trim !== null) await new Promise<void>((resolve) => trim(0, resolve));
}
