// The graph's algebra over listed pages in plain loops, against each row's own formula.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type PageList, pageList, type RowPages } from '../../src/engine/adapters/page-list.ts';

/** A product that tells which row read which page. */
const product = (row: number, slot: number) => (row + 1) * 1000 + slot;

/** shares · z over the products that each row takes, as the graph computes it. */
function throughList({ served, pages, rows, own, taken, scales }: PageList, count: number): number[] {
  const places = pages.flatMap((slot, page) =>
    rows.slice(page * served, (page + 1) * served).map((row) => product(row, slot)),
  );
  return Array.from({ length: count }, (_, row) => {
    let sum = 0;
    for (let i = row * taken; i < (row + 1) * taken; i++) sum += scales[i]! * places[own[i]!]!;
    return sum;
  });
}

const adapters = fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 1, maxLength: 6 });
const picks = fc.array(fc.record({ adapter: fc.option(fc.nat(20)), scale: fc.constantFrom(1, 2, 0, -1) }), {
  minLength: 1,
  maxLength: 300,
});

test('listed pages give each row its own adapter’s product, and nothing else', () => {
  fc.assert(
    fc.property(adapters, picks, (pages, chosen) => {
      let next = 0;
      const ranges = pages.map((count) => {
        next += count + 3;
        return { first: next - count, pages: count };
      });
      const rows: (RowPages | null)[] = chosen.map(({ adapter, scale }) => {
        const range = adapter === null ? undefined : ranges[adapter % (ranges.length + 1)];
        return range ? { ...range, scale } : null;
      });
      const list = pageList(rows);
      assert.ok(list.pages.length > 0 && list.served > 0 && list.taken > 0);
      assert.equal(list.rows.length, list.pages.length * list.served);
      assert.deepEqual([list.own.length, list.scales.length], [rows.length * list.taken, rows.length * list.taken]);
      const expected = rows.map((row, i) => {
        if (row === null) return 0;
        return (
          row.scale * Array.from({ length: row.pages }, (_, p) => product(i, row.first + p)).reduce((a, b) => a + b)
        );
      });
      assert.deepEqual(
        throughList(list, rows.length),
        expected.map((sum) => sum + 0),
      );
    }),
    { numRuns: 300 },
  );
});

test('one popular adapter makes no places for its rows on everybody’s pages', () => {
  const popular = Array.from({ length: 200 }, () => ({ first: 0, pages: 2, scale: 1 }));
  const others = Array.from({ length: 56 }, (_, i) => ({ first: 2 + 2 * i, pages: 2, scale: 1 }));
  const { pages, rows } = pageList([...popular, ...others]);
  // The popular adapter alone has 400 places, and each page of the others has one.
  assert.ok(rows.length < 2000 && pages.length < 400, `${rows.length} places on ${pages.length} pages`);
});

test('where nobody reads, a page is listed of which nobody takes anything', () => {
  assert.deepEqual(pageList([null, null]), {
    ...{ pages: [0], served: 1, rows: [0], taken: 1 },
    ...{ own: [0, 0], scales: new Float32Array(2) },
  });
});
