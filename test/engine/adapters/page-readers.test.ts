// The graph's algebra over pages in plain loops, against each row's own formula.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../../src/core/prng.ts';
import { type PageReaders, pageReaders, type RowPages } from '../../../src/engine/adapters/page-readers.ts';
import { PageSlots } from '../../../src/engine/adapters/page-slots.ts';

const [ranks, inputs, outs, slots] = [8, 3, 2, 64];

type Values = { readonly a: Float64Array; readonly b: Float64Array; readonly x: Float64Array };

/** Adds (x · aᵀ) · b over pages [first, first + pages) for a row of x, times `share`, to `y`. */
function addProduct({ a, b, x }: Values, row: number, first: number, pages: number, share: number, y: Float64Array) {
  for (let rank = first * ranks; rank < (first + pages) * ranks; rank++) {
    let inner = 0;
    for (let i = 0; i < inputs; i++) inner += x[row * inputs + i]! * a[rank * inputs + i]!;
    for (let o = 0; o < outs; o++) y[o]! += share * inner * b[rank * outs + o]!;
  }
}

/** y = shares · z over all pages, empty places included, as the graph computes it. */
function throughPages(readers: PageReaders, values: Values, count: number): Float64Array[] {
  const { first, served, rows, own, shares } = readers;
  return Array.from({ length: count }, (_, row) => {
    const y = new Float64Array(outs);
    for (const [i, product] of own.entries()) {
      const page = first + Math.floor(product / served);
      addProduct(values, rows[product]!, page, 1, shares[row * own.length + i]!, y);
    }
    return y;
  });
}

const adapters = fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 1, maxLength: 6 });
/** By row: which adapter, or none, and the scale. */
const picks = fc.array(fc.record({ adapter: fc.option(fc.nat(20)), scale: fc.constantFrom(1, 0.5, 2, 0, -1) }), {
  minLength: 1,
  maxLength: 12,
});

test('pages give each row its own adapter’s product, and nothing else', () => {
  fc.assert(
    fc.property(adapters, picks, fc.array(fc.nat(5), { maxLength: 3 }), fc.nat(), (pages, picks, gone, seed) => {
      const pool = new PageSlots(slots);
      // Gaps where earlier adapters were.
      const leading = gone.map((count) => [pool.take(count + 1), count + 1] as const);
      const ranges = pages.flatMap((count) => {
        const first = pool.take(count);
        return first === null ? [] : [{ first, pages: count }];
      });
      for (const [first, count] of leading) if (first !== null) pool.free(first, count);
      const rows: (RowPages | null)[] = picks.map(({ adapter, scale }) => {
        const range = adapter === null ? undefined : ranges[adapter % (ranges.length + 1)];
        return range ? { ...range, scale } : null;
      });
      const random = prng(seed);
      const floats = (length: number) => Float64Array.from({ length }, () => random() - 0.5);
      const values = {
        a: floats((slots + 1) * ranks * inputs),
        b: floats((slots + 1) * ranks * outs),
        x: floats(12 * inputs),
      };

      const readers = pageReaders(rows);
      const found = throughPages(readers, values, rows.length);
      for (const [row, pages] of rows.entries()) {
        const expected = new Float64Array(outs);
        if (pages) addProduct(values, row, pages.first, pages.pages, pages.scale, expected);
        for (let o = 0; o < outs; o++) assert.ok(Math.abs(found[row]![o]! - expected[o]!) < 1e-9);
      }
      checkForm(readers, rows);
    }),
    { numRuns: 300 },
  );
});

/** What the graph's shapes, and the tied range, need. */
function checkForm({ first, pages, served, rows, own, shares }: PageReaders, picked: readonly (RowPages | null)[]) {
  assert.ok(served >= 1);
  assert.equal(rows.length, pages * served);
  assert.ok(rows.every((row) => row >= 0 && row < picked.length));
  const reading = picked.filter((row) => row !== null);
  assert.equal(shares.length, picked.length * own.length);
  assert.ok(own.every((product) => product >= 0 && product < rows.length));
  if (reading.length === 0) return;
  assert.equal(first, Math.min(...reading.map((row) => row.first)));
  const end = Math.max(...reading.map((row) => row.first + row.pages));
  // A single page that several rows read has company.
  assert.equal(first + pages, served > 1 ? Math.max(end, first + 2) : end);
}

test('rows that share an adapter read it once; nobody reads nothing', () => {
  const shared = pageReaders([{ first: 2, pages: 2, scale: 1 }, null, { first: 2, pages: 2, scale: 0.5 }]);
  assert.deepEqual(shared, {
    ...{ first: 2, pages: 2, served: 2, rows: [0, 2, 0, 2] },
    own: [0, 2, 0, 0, 1, 3],
    shares: Float32Array.of(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.5, 0.5),
  });
  for (const rows of [[], [null, null]]) {
    const none = { first: 0, pages: 0, served: 1, rows: [], own: [], shares: new Float32Array(0) };
    assert.deepEqual(pageReaders(rows), none);
  }
});
