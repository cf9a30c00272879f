import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import test from 'node:test';
import { physicalCores } from '../../src/runtime/cores.ts';

test('there is a physical core, and no more of them than logical ones', () => {
  const cores = physicalCores();
  assert.ok(Number.isInteger(cores) && cores >= 1 && cores <= availableParallelism(), `${cores}`);
});
