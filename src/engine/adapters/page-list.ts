// How the rows of a step read a linear's pages in device memory: the pages that are read, by their slots, and the rows
// that each serves. A page that serves many rows is listed several times, so that the many rows of one popular adapter
// do not widen every other page's entry. Pure.

export type RowPages = { readonly first: number; readonly pages: number; readonly scale: number };

export type PageList = {
  /** [P]: slots of the pool; at least one. */
  readonly pages: readonly number[];
  /** T: rows that every listed page has places for. */
  readonly served: number;
  /** [P, T]: a row of the step; 0 where a place is empty. */
  readonly rows: readonly number[];
  /** C: products that each row takes. */
  readonly taken: number;
  /** [rows of the step, C]: the products' places in [P, T]; 0 where a row has fewer than C. */
  readonly own: readonly number[];
  /** [rows of the step, C]: how much of each product the row takes; 0 where there is none. */
  readonly scales: Float32Array<ArrayBuffer>;
};

/** Number of places that cost as much as listing a page once more, which copies it. */
const placesPerCopy = 4;

/** @param rows what each row of the step reads; null for a row that reads nothing of this linear */
export function pageList(rows: readonly (RowPages | null)[]): PageList {
  const reading = [...rows.entries()].filter((entry): entry is [number, RowPages] => entry[1] !== null);
  // A device's operators take no empty tensors: where no row reads anything, one page is listed of which no row takes
  // any.
  if (reading.length === 0) {
    const own = rows.map(() => 0);
    return { pages: [0], served: 1, rows: [0], taken: 1, own, scales: new Float32Array(own.length) };
  }
  const readers = [...Map.groupBy(reading, ([, { first }]) => first).values()];
  const served = fewestCosts(readers.map((group) => ({ pages: group[0]![1].pages, rows: group.length })));
  const taken = Math.max(...reading.map(([, row]) => row.pages));
  const pages: number[] = [];
  const places: number[] = [];
  const own = new Array<number>(rows.length * taken).fill(0);
  const scales = new Float32Array(own.length);
  for (const group of readers) {
    for (let start = 0; start < group.length; start += served) {
      const together = group.slice(start, start + served);
      const { first, pages: count } = together[0]![1];
      for (let page = 0; page < count; page++) {
        const at = pages.push(first + page) - 1;
        for (let place = 0; place < served; place++) places.push(together[place]?.[0] ?? 0);
        for (const [place, [row, { scale }]] of together.entries()) {
          own[row * taken + page] = at * served + place;
          scales[row * taken + page] = scale;
        }
      }
    }
  }
  return { pages, served, rows: places, taken, own, scales };
}

function fewestCosts(groups: readonly { readonly pages: number; readonly rows: number }[]): number {
  const most = Math.max(...groups.map(({ rows }) => rows));
  let [best, least] = [1, Number.POSITIVE_INFINITY];
  for (let served = 1; served < 2 * most; served *= 2) {
    const listed = groups.reduce((sum, { pages, rows }) => sum + pages * Math.ceil(rows / served), 0);
    const cost = listed * (served + placesPerCopy);
    if (cost < least) [best, least] = [served, cost];
  }
  return best;
}
