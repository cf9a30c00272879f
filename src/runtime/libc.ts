// Functions of Linux's C library, called off the event loop.

import { koffi } from './native.ts';

/** The last argument is called when the function has returned. */
type Called<Arguments extends readonly unknown[]> = (...args: [...Arguments, done: () => void]) => void;

/**
 * Finds a function of glibc once, and keeps it together with its library.
 * @param prototype in C
 * @returns a getter; it gives null where the C library is not glibc
 */
export function libcFunction<Arguments extends readonly unknown[]>(prototype: string): () => Called<Arguments> | null {
  let found: { readonly library: unknown; readonly call: Called<Arguments> } | null | undefined;
  const find = () => {
    if (process.platform !== 'linux') return null;
    try {
      const library = koffi.load('libc.so.6');
      return { library, call: library.func(prototype).async as Called<Arguments> };
    } catch {
      return null;
    }
  };
  return () => {
    if (found === undefined) found = find();
    return found?.call ?? null;
  };
}
