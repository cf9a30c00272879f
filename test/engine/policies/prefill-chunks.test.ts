import assert from 'node:assert/strict';
import test from 'node:test';
import { prefillChunks } from '../../../src/engine/policies/prefill-chunks.ts';

test('the least served is read first, rows of one flow in their order, under one budget', () => {
  const rows = [
    { row: 4, left: 100, turn: 9 },
    { row: 5, left: 20, turn: 2 },
    { row: 6, left: 50, turn: 2 },
  ];
  assert.deepEqual(prefillChunks(rows, 128), [
    { row: 5, tokens: 20 },
    { row: 6, tokens: 50 },
    { row: 4, tokens: 58 },
  ]);
  assert.deepEqual(prefillChunks(rows, 20), [{ row: 5, tokens: 20 }]);
});
