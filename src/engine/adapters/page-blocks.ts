// How the rows of a step read a linear's pages: one range of the pool, cut into blocks of equal width, and for each block
// the rows that it serves. Pure.

import { largestPowerOfTwoIn } from './page-slots.ts';

/** What one row reads: its adapter's pages, and how much of their product it takes. */
export type RowPages = { readonly first: number; readonly pages: number; readonly scale: number };

export type PageBlocks = {
  /** The range of the pool. */
  readonly first: number;
  readonly pages: number;
  /** Pages of a block: the wider, the fewer products. */
  readonly width: number;
  /** Rows that every block has places for. */
  readonly served: number;
  /** [blocks, served]: a row, or 0 where a place is empty. */
  readonly rows: readonly number[];
  /** [rows of the step, blocks * served]; an empty place is 0 in every row. */
  readonly shares: Float32Array<ArrayBuffer>;
};

/** Ranks of a block beyond this gain nothing: the product is wide enough. */
const widthMax = 8;

/** @param rows what each row of the step reads; null for one that reads nothing here */
export function pageBlocks(rows: readonly (RowPages | null)[]): PageBlocks {
  const reading = rows.filter((row) => row !== null);
  if (reading.length === 0) {
    return { first: 0, pages: 0, width: 1, served: 1, rows: [], shares: new Float32Array(0) };
  }
  const first = Math.min(...reading.map((row) => row.first));
  const end = Math.max(...reading.map((row) => row.first + row.pages));
  // Every range starts and ends between two blocks.
  const common = reading.reduce((bits, row) => bits | (row.first - first) | row.pages, widthMax);
  const width = largestPowerOfTwoIn(common);
  const readers = Map.groupBy(
    [...rows.entries()].filter(([, row]) => row !== null),
    ([, row]) => row!.first,
  );
  const served = Math.max(...[...readers.values()].map((places) => places.length));
  const blocks = (end - first) / width;
  const places = new Array<number>(blocks * served).fill(0);
  const shares = new Float32Array(rows.length * places.length);
  for (const reader of readers.values()) {
    for (const [place, [row, pages]] of reader.entries()) {
      const from = (pages!.first - first) / width;
      for (let block = from; block < from + pages!.pages / width; block++) {
        places[block * served + place] = row;
        shares[row * places.length + block * served + place] = pages!.scale;
      }
    }
  }
  return { first, pages: end - first, width, served, rows: places, shares };
}
