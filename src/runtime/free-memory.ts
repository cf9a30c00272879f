// Gives memory that is free back to the system. A released session leaves holes among small blocks that others still
// have, and glibc keeps their pages: merging and unmerging six times left 150 MB behind, and with this none.

import type { LibraryHandle } from 'koffi';
import { koffi } from './native.ts';

type Trim = (padding: number, done: () => void) => void;

/** Both are kept: a library whose handle is collected is closed. */
let found: { readonly library: LibraryHandle; readonly trim: Trim } | null | undefined;

/** Off the event loop, some 20 ms. Does nothing where the C library is another one. */
export async function giveBackFreeMemory(): Promise<void> {
  found ??= findTrim();
  if (found === null) return;
  const { trim } = found;
  await new Promise<void>((resolve) => trim(0, resolve));
}

function findTrim() {
  if (process.platform !== 'linux') return null;
  try {
    const library = koffi.load('libc.so.6');
    return { library, trim: library.func('int malloc_trim(size_t padding)').async as Trim };
  } catch {
    return null;
  }
}
