import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type BatchSettings, planBatches } from '../../src/training/batches.ts';

const inOrder: BatchSettings = { epochs: 1, maxSteps: null, batchRows: 2, batchTokens: null, shuffle: false, seed: 1 };
const all = (lengths: readonly number[], settings: BatchSettings) => {
  const batches = planBatches(lengths, settings);
  return Array.from({ length: batches.steps }, (_, step) => batches.rowsOf(step));
};

test('rows in the order of the file, the last batch of an epoch smaller', () => {
  assert.deepEqual(all([1, 1, 1, 1, 1], inOrder), [[0, 1], [2, 3], [4]]);
  assert.deepEqual(all([1, 1, 1], { ...inOrder, epochs: null, maxSteps: 5 }), [[0, 1], [2], [0, 1], [2], [0, 1]]);
});

test('batches by tokens take rows whole, and a row that is too long alone', () => {
  assert.deepEqual(all([3, 3, 3, 9, 1, 2], { ...inOrder, batchRows: null, batchTokens: 6 }), [
    [0, 1],
    [2],
    [3],
    [4, 5],
  ]);
});

test('tokens are those of all steps, also where the last epoch is left in the middle', () => {
  const tokensOf = (settings: Partial<BatchSettings>) =>
    planBatches([1, 2, 4, 8, 16], { ...inOrder, ...settings }).tokens;
  assert.equal(tokensOf({}), 31);
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((maxSteps) => tokensOf({ epochs: null, maxSteps })),
    [3, 15, 31, 34, 46],
  );
});

test('epochs are counted by parts', () => {
  const batches = planBatches([1, 1, 1, 1, 1], { ...inOrder, epochs: 2 });
  assert.equal(batches.steps, 6);
  assert.deepEqual([0, 1, 3, 4, 6].map(batches.epochAfter), [0, 1 / 3, 1, 4 / 3, 2]);
});

const settings = fc.record({
  epochs: fc.integer({ min: 1, max: 3 }),
  maxSteps: fc.constant(null),
  batch: fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 50 })),
  shuffle: fc.boolean(),
  seed: fc.maxSafeNat(),
});
const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 40 });

test('each epoch has each row once, and a step asked for out of order is the same step', () => {
  fc.assert(
    fc.property(lengths, settings, (lengths, { batch: [byRows, size], ...rest }) => {
      const plan: BatchSettings = { ...rest, batchRows: byRows ? size : null, batchTokens: byRows ? null : size };
      const batches = all(lengths, plan);
      const counts = new Map<number, number>();
      for (const row of batches.flat()) counts.set(row, (counts.get(row) ?? 0) + 1);
      assert.deepEqual(
        [...counts.values()],
        lengths.map(() => plan.epochs),
      );
      const again = planBatches(lengths, plan);
      assert.equal(
        again.tokens,
        batches.flat().reduce((sum, row) => sum + lengths[row]!, 0),
      );
      for (const step of [...batches.keys()].reverse()) assert.deepEqual(again.rowsOf(step), batches[step]);
      for (const rows of batches) {
        const tokens = rows.reduce((sum, row) => sum + lengths[row]!, 0);
        assert.ok(rows.length >= 1 && (byRows ? rows.length <= size : tokens <= size || rows.length === 1));
      }
    }),
  );
});

test('epochs are shuffled each in its own way, and by the seed', () => {
  const lengths = Array.from({ length: 100 }, () => 1);
  const shuffled = { ...inOrder, batchRows: 100, shuffle: true, epochs: 2 };
  const [first, second] = all(lengths, shuffled);
  assert.notDeepEqual(first, second);
  assert.notDeepEqual(all(lengths, { ...shuffled, seed: 2 })[0], first);
});
