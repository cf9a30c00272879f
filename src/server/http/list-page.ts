// Reads one page of a list.

export type ListPage<T> = { readonly rows: T[]; readonly hasMore: boolean };

/**
 * Reads the page's rows and finds out whether more follow, for which `read` is asked for one row more.
 * @param asked the caller's limit, which `limits.listPage` bounds; undefined: that bound
 */
export async function readListPage<T>(
  { listPage }: { readonly listPage: number },
  asked: string | number | undefined,
  read: (limit: number) => Promise<readonly T[]>,
): Promise<ListPage<T>> {
  const limit = Math.min(Number(asked ?? listPage), listPage);
  const found = await read(limit + 1);
  return { rows: found.slice(0, limit), hasMore: found.length > limit };
}
