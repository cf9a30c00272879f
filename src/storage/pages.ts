// What a query gives page by page, as long as there is any.

/**
 * @param read the page after a row; `first` stands for none
 * @param after what the next page comes after
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
