import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../../src/core/prng.ts';
import { LeastFirst } from '../../../src/engine/policies/least-first.ts';

test('the least comes first, and of equals the first given, while values grow and entries go', () => {
  const random = prng(1);
  const below = (limit: number) => Math.floor(random() * limit);
  for (let round = 0; round < 200; round++) {
    // Few values, so that many are equal.
    const entries = Array.from({ length: below(40) }, (_, place) => ({ place, value: below(8) }));
    const queue = new LeastFirst(entries, ({ value }) => value);
    const left = [...entries];
    while (left.length > 0) {
      assert.equal(queue.size, left.length);
      const expected = left.reduce((best, entry) => (entry.value < best.value ? entry : best));
      assert.equal(queue.least(), expected);
      if (random() < 0.3) {
        queue.drop();
        left.splice(left.indexOf(expected), 1);
      }
      // Raises the entry that was given, others, or none.
      if (random() < 0.5) expected.value += below(3);
      for (const entry of left) if (random() < 0.05) entry.value += below(5);
    }
    assert.equal(queue.least(), undefined);
  }
});
