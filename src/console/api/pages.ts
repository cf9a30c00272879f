// Reads lists that the server sends in pages.

import { ask } from './client.ts';

export type Page<T> = { readonly data: T[]; readonly has_more: boolean; readonly last_id: string | null };

/** Reads all entries. `onPage` receives those of all pages so far, so that a long list is shown while it is read. */
export async function readAll<T>(path: string, signal: AbortSignal, onPage?: (so: T[]) => void): Promise<T[]> {
  let all: T[] = [];
  for (let after: string | null = null; ; ) {
    const query: string = `limit=100${after === null ? '' : `&after=${encodeURIComponent(after)}`}`;
    const page: Page<T> = await ask(`${path}${path.includes('?') ? '&' : '?'}${query}`, { signal });
    all = [...all, ...page.data];
    if (!page.has_more || page.last_id === null) return all;
    after = page.last_id;
    onPage?.(all);
  }
}
