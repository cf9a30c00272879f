// How the rows of a step read a linear's pages where an operator reads the pools in place: each row's pages and how
// much of each it takes, and which rows read the same pages, so that a page is read once for all of them. Pure.

import { groupRowsMax, groupWidth } from '../../graph/grouped-adapters.ts';
import type { RowPages } from './page-list.ts';

export type SharedPages = RowPages & {
  /** For each page, the factor of its product that is not in its values. */
  readonly shares: Float32Array;
};

export type PageTable = {
  /** C: pages of the row with the most, at least 1. */
  readonly most: number;
  /** [R, C]: slots of the pool; -1 where a row has fewer pages. */
  readonly pages: Int32Array<ArrayBuffer>;
  /** [R, C]: factors of the pages' products. */
  readonly shares: Float32Array<ArrayBuffer>;
  /** [G, 20]: for each group its number of pages, its number of rows, two zeros, and its rows, padded with -1. */
  readonly groups: Int32Array<ArrayBuffer>;
};

/**
 * @param rows what each row of the step reads; null for a row that reads nothing of this linear
 * @param isSteady whether sizes change as rarely as possible: as many groups as rows, and a power of two of pages
 */
export function pageTable(rows: readonly (SharedPages | null)[], isSteady = false): PageTable {
  const needed = Math.max(1, ...rows.map((row) => row?.pages ?? 0));
  const most = isSteady ? 2 ** Math.ceil(Math.log2(needed)) : needed;
  const pages = new Int32Array(rows.length * most).fill(-1);
  const shares = new Float32Array(rows.length * most);
  for (const [i, row] of rows.entries()) {
    for (let page = 0; page < (row?.pages ?? 0); page++) {
      pages[i * most + page] = row!.first + page;
      shares[i * most + page] = row!.scale * row!.shares[page]!;
    }
  }
  const readers = [...Map.groupBy(rows.keys(), (i) => rows[i]?.first ?? -1).values()];
  const groups = readers.flatMap((all) =>
    Array.from({ length: Math.ceil(all.length / groupRowsMax) }, (_, i) =>
      all.slice(i * groupRowsMax, (i + 1) * groupRowsMax),
    ),
  );
  const table = new Int32Array((isSteady ? rows.length : groups.length) * groupWidth).fill(-1);
  // The spare groups have no pages and no rows.
  for (let i = groups.length; i < table.length / groupWidth; i++) table.fill(0, i * groupWidth, i * groupWidth + 4);
  for (const [i, group] of groups.entries()) {
    table.set([rows[group[0]!]?.pages ?? 0, group.length, 0, 0, ...group], i * groupWidth);
  }
  return { most, pages, shares, groups: table };
}
