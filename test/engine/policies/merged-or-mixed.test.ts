import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { mergedOrMixed, type StepKind } from '../../../src/engine/policies/merged-or-mixed.ts';

/** Milliseconds to read the weights, for each row, and for each row's adapter. */
const costs = (read: number, row: number, adapter: number) => (kind: StepKind, rows: number) =>
  rows === 0 ? 0 : read + rows * (row + (kind === 'mixed' ? adapter : 0));

test('alone, its rows run on the merge; beside few others reading the weights twice is dearer', () => {
  const stepMs = costs(8, 1, 0.4);
  assert.equal(mergedOrMixed({ own: 1, others: 0, othersAdapted: false }, stepMs), 'merged');
  const misled = (kind: StepKind) => (kind === 'mixed' ? 1 : 100);
  assert.equal(mergedOrMixed({ own: 9, others: 0, othersAdapted: false }, misled), 'merged');
  assert.equal(mergedOrMixed({ own: 4, others: 4, othersAdapted: false }, stepMs), 'mixed');
});

test('where adapters are dear, the merge is worth a second reading', () => {
  assert.equal(mergedOrMixed({ own: 12, others: 4, othersAdapted: false }, costs(8, 1, 2)), 'merged');
  // The other rows' adapters cost the same wherever these rows run.
  assert.equal(mergedOrMixed({ own: 2, others: 12, othersAdapted: true }, costs(8, 1, 2)), 'mixed');
});

test('what runs mixed now binds nobody: it ends, and all of these rows come to the merge', () => {
  // Fifteen of its own rows in the mixed batch count as its own, not as others.
  assert.equal(mergedOrMixed({ own: 16, others: 0, othersAdapted: false }, costs(8, 1, 0.1)), 'merged');
});

test('never dearer than the dearer of both', () => {
  const small = fc.integer({ min: 0, max: 16 });
  const part = fc.double({ min: 0.01, max: 50, noNaN: true });
  fc.assert(
    fc.property(
      small,
      fc.integer({ min: 1, max: 16 }),
      fc.boolean(),
      part,
      part,
      part,
      (own, others, othersAdapted, read, row, adapter) => {
        const stepMs = costs(read, row, adapter);
        const crowd = { own: own + 1, others, othersAdapted };
        const merged = stepMs(othersAdapted ? 'mixed' : 'base', others) + stepMs('merged', own + 1);
        const mixed = stepMs('mixed', own + 1 + others);
        const chosen = mergedOrMixed(crowd, stepMs) === 'merged' ? merged : mixed;
        assert.ok(chosen <= Math.min(merged, mixed));
      },
    ),
  );
});
