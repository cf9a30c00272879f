// A table's entries are what the rows read, and each row is in one group, together with rows that read the same pages.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { pageTable } from '../../../src/engine/adapters/device-page-table.ts';

const adapter = fc.record({ first: fc.integer({ min: 0, max: 8 }), scale: fc.float({ noNaN: true }) });
/** The number of pages follows from the first one, so that no two adapters begin in the same slot. */
const reads = fc.option(
  adapter.map(({ first, scale }) => {
    const pages = 1 + ((5 * first) % 7);
    return { first: 40 * first, scale, pages, shares: Float32Array.from({ length: pages }, (_, i) => 2 ** -i) };
  }),
  { nil: null },
);

test('rows, their pages and shares, and groups of at most 16', () => {
  fc.assert(
    fc.property(fc.array(reads, { minLength: 1, maxLength: 60 }), fc.boolean(), (rows, isSteady) => {
      const { most, pages, shares, groups } = pageTable(rows, isSteady);
      for (const [i, row] of rows.entries()) {
        for (let page = 0; page < most; page++) {
          const isRead = page < (row?.pages ?? 0);
          assert.equal(pages[i * most + page], isRead ? row!.first + page : -1);
          assert.equal(shares[i * most + page], isRead ? Math.fround(row!.scale * 2 ** -page) : 0);
        }
      }
      const seen: number[] = [];
      for (let at = 0; at < groups.length; at += 20) {
        const [pagesOf, count, , , ...members] = groups.subarray(at, at + 20);
        const own = members.slice(0, count);
        assert.ok(count! <= 16 && members.slice(count).every((row) => row === -1));
        for (const row of own) {
          assert.equal(rows[row]?.first, rows[own[0]!]?.first);
          assert.equal(rows[row]?.pages ?? 0, pagesOf);
        }
        seen.push(...own);
      }
      assert.deepEqual(
        seen.sort((a, b) => a - b),
        [...rows.keys()],
      );
    }),
  );
});

test('sizes of steps that come again depend on the number of rows and hardly on who reads what', () => {
  const row = (first: number, pages: number) => ({ first, pages, scale: 1, shares: new Float32Array(pages).fill(1) });
  const [one, other] = [
    [null, row(0, 3), row(0, 3)],
    [row(1, 4), row(8, 4), null],
  ].map((rows) => pageTable(rows, true)) as [ReturnType<typeof pageTable>, ReturnType<typeof pageTable>];
  assert.equal(one.most, 4);
  assert.equal(one.groups.length, other.groups.length);
  assert.equal(one.pages.length, other.pages.length);
});
