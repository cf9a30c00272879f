// The results of a query page by page, until a page is empty.

/**
 * @param read gives the page after a key; `first` is the key before all rows
 * @param after the key of a row, after which the next page begins
 */
export async function* pagesOfQuery<Row, Key>(
  first: Key,
  read: (after: Key) => Promise<readonly Row[]>,
  after: (last: Row) => Key,
): AsyncGenerator<readonly Row[]> {
  let page = await read(first);
  while (page.length > 0) {
    yield page;
    page = await read(after(page.at(-1)!));
  }
}
