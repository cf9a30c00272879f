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
  /** [rows of the step * C]: for each row its pages' products, `page * served + place`; 0 where it has fewer than C. */
  readonly own: readonly number[];
  /** [rows of the step, rows of the step * C]: the scale at a row's own products, 0 elsewhere. */
  readonly shares: Float32Array<ArrayBuffer>;
};

/** @param rows what each row of the step reads; null for one that reads nothing here */
export function pageReaders(rows: readonly (RowPages | null)[]): PageReaders {
  const reading = [...rows.entries()].filter((entry): entry is [number, RowPages] => entry[1] !== null);
  if (reading.length === 0) return { first: 0, pages: 0, served: 1, rows: [], own: [], shares: new Float32Array(0) };
  const first = Math.min(...reading.map(([, row]) => row.first));
  const readers = Map.groupBy(reading, ([, row]) => row.first);
  const served = Math.max(...[...readers.values()].map(({ length }) => length));
  // The product of a single page is one of all its rows at once, which sums otherwise; beside another page it is not.
  const pagesMin = served > 1 ? 2 : 1;
  const end = Math.max(first + pagesMin, ...reading.map(([, row]) => row.first + row.pages));
  // A power of two: products are summed in runs of a larger one, and none of a row's is to fall into the next run.
  const most = 2 ** Math.ceil(Math.log2(Math.max(...reading.map(([, row]) => row.pages))));
  const places = new Array<number>((end - first) * served).fill(0);
  const own = new Array<number>(rows.length * most).fill(0);
  const shares = new Float32Array(rows.length * own.length);
  for (const [start, entries] of readers) {
    for (const [place, [row, { pages, scale }]] of entries.entries()) {
      for (let page = 0; page < pages; page++) {
        const product = (start - first + page) * served + place;
        places[product] = row;
        own[row * most + page] = product;
        shares[row * own.length + row * most + page] = scale;
      }
    }
  }
  return { first, pages: end - first, served, rows: places, own, shares };
}
