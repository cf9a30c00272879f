// A header of unknown length is parsed from prefixes that grow up to a bound.

import assert from 'node:assert/strict';
import test from 'node:test';
import { parseGrowing } from '../../src/formats/growing-prefix.ts';

/** Lengths that are read, and what is found, where the header needs `needed` bytes. */
function tried(needed: number, most: number) {
  const lengths: number[] = [];
  const read = (bytes: number) => {
    lengths.push(bytes);
    return new Uint8Array(bytes);
  };
  const found = parseGrowing(read, ({ length }) => (length >= needed ? 'header' : null), { first: 4, most });
  return { lengths, found };
}

test('each prefix is four times as long as the one before, and the last one has the most bytes', () => {
  assert.deepEqual(tried(3, 100), { lengths: [4], found: 'header' });
  assert.deepEqual(tried(60, 100), { lengths: [4, 16, 64], found: 'header' });
  assert.deepEqual(tried(100, 100), { lengths: [4, 16, 64, 100], found: 'header' });
  assert.deepEqual(tried(101, 100), { lengths: [4, 16, 64, 100], found: null });
  assert.deepEqual(tried(2, 2), { lengths: [2], found: 'header' });
});
