import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { PageSlots } from '../../../src/engine/adapters/page-slots.ts';

type Range = { readonly first: number; readonly count: number };

/** The lowest free range, found by trying all. */
function lowest(slots: number, count: number, taken: readonly Range[]): number | null {
  const isFree = (first: number) =>
    taken.every((range) => first + count <= range.first || first >= range.first + range.count);
  for (let first = 0; first + count <= slots; first++) if (isFree(first)) return first;
  return null;
}

test('ranges are the lowest free ones, and come back whole', () => {
  const action = fc.record({ takes: fc.boolean(), count: fc.integer({ min: 1, max: 16 }), which: fc.nat() });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 40 }), fc.array(action, { maxLength: 60 }), (size, actions) => {
      const slots = new PageSlots(size);
      const taken: Range[] = [];
      for (const { takes, count, which } of actions) {
        if (takes) {
          const expected = lowest(size, count, taken);
          assert.equal(slots.take(count), expected);
          if (expected !== null) taken.push({ first: expected, count });
        } else if (taken.length > 0) {
          const [{ first, count }] = taken.splice(which % taken.length, 1) as [Range];
          slots.free(first, count);
          assert.throws(() => slots.free(first, count), /freed twice/);
        }
        assert.equal(
          slots.taken,
          taken.reduce((sum, range) => sum + range.count, 0),
        );
      }
    }),
  );
});

test('what is free in part is not freed, and stays as it is', () => {
  const slots = new PageSlots(8);
  slots.take(4);
  assert.throws(() => slots.free(2, 4), /freed twice/);
  assert.equal(slots.taken, 4);
  assert.throws(() => slots.free(6, 4), 'beyond the end');
});
