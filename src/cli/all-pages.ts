// Reads lists that a server sends in pages.

import type { Server } from './ask-server.ts';

type Page<T> = { readonly data: T[]; readonly has_more: boolean; readonly last_id: string };

/** Reads all entries of the list at `path`, which has no query of its own. */
export async function allPages<T>(server: Server, path: string): Promise<T[]> {
  const all: T[] = [];
  for (let after = ''; ; ) {
    const page = await server.get<Page<T>>(`${path}?limit=100${after}`);
    all.push(...page.data);
    if (!page.has_more) return all;
    after = `&after=${encodeURIComponent(page.last_id)}`;
  }
}
