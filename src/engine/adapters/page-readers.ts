// How the rows of a step read a linear's pages: one range of the pool, and for each page in it the rows that it serves.
// Pure.

/** What one row reads: its adapter's pages, and how much of their product it takes. */
export type RowPages = { readonly first: number; readonly pages: number; readonly scale: number };

export type PageReaders = {
  /** The range of the pool. */
  readonly first: number;
  readonly pages: number;
  /** Rows that every page has places for. */
  readonly served: number;
  /** [pages, served]: a row, or 0 where a place is empty. */
  readonly rows: readonly number[];
  /** [rows of the step, pages * served]; an empty place is 0 in every row. */
  readonly shares: Float32Array<ArrayBuffer>;
};

/** @param rows what each row of the step reads; null for one that reads nothing here */
export function pageReaders(rows: readonly (RowPages | null)[]): PageReaders {
  const reading = [...rows.entries()].filter((entry): entry is [number, RowPages] => entry[1] !== null);
  if (reading.length === 0) return { first: 0, pages: 0, served: 1, rows: [], shares: new Float32Array(0) };
  const first = Math.min(...reading.map(([, row]) => row.first));
  const end = Math.max(...reading.map(([, row]) => row.first + row.pages));
  const readers = Map.groupBy(reading, ([, row]) => row.first);
  const served = Math.max(...[...readers.values()].map(({ length }) => length));
  const places = new Array<number>((end - first) * served).fill(0);
  const shares = new Float32Array(rows.length * places.length);
  for (const [start, entries] of readers) {
    for (const [place, [row, { pages, scale }]] of entries.entries()) {
      for (let page = start - first; page < start - first + pages; page++) {
        places[page * served + place] = row;
        shares[row * places.length + page * served + place] = scale;
      }
    }
  }
  return { first, pages: end - first, served, rows: places, shares };
}
