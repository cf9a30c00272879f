// A machine whose kernels sum one row otherwise, and one whose kernels do not, as functions from a batch to logits.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import type { ForwardBatch } from '../../src/engine/forward-batch.ts';
import { spareRow } from '../../src/engine/kv-cache.ts';
import { evenForLoneRows } from '../../src/engine/lone-row.ts';

const vocabulary = 3;

/** Logits tell the token and the past of each sampled row, and whether it was alone. */
function machine(uneven: boolean, kindOf: (batch: ForwardBatch) => string = () => '') {
  const batches: ForwardBatch[] = [];
  const buffer = new Float32Array(64);
  const forward = evenForLoneRows<ForwardBatch>(async (batch) => {
    batches.push(batch);
    const alone = uneven && batch.tokens.length === 1 ? 2 ** -20 : 0;
    for (const [i, row] of batch.sampled.entries()) {
      buffer.set([batch.tokens[row]! + alone, batch.pasts[row]!, 1], i * vocabulary);
    }
    return buffer.subarray(0, batch.sampled.length * vocabulary);
  }, kindOf);
  return { batches, forward };
}

const lone: ForwardBatch = { phase: 'decode', first: 0, pasts: [5], tokens: [7], sampled: [0] };
const pair: ForwardBatch = { phase: 'decode', first: 0, pasts: [5, 2], tokens: [7, 9], sampled: [0, 1] };

test('where one row sums as many do, it runs alone after one comparison', async () => {
  const { batches, forward } = machine(false);
  for (let step = 0; step < 3; step++) assert.deepEqual([...(await forward(lone))], [7, 5, 1]);
  assert.deepEqual(
    batches.map(({ first }) => first),
    [0, spareRow, 0, 0],
  );
});

test('where it does not, it runs beside the spare row, and gets the bits of a batch', async () => {
  const { batches, forward } = machine(true);
  const inBatch = [...(await forward(pair))].slice(0, vocabulary);
  for (let step = 0; step < 3; step++) assert.deepEqual([...(await forward(lone))], inBatch);
  assert.deepEqual(
    batches.map(({ first }) => first),
    [0, 0, spareRow, spareRow, spareRow],
  );
  assert.deepEqual(batches.at(-1), { ...lone, first: spareRow, pasts: [0, 5], tokens: [7, 7], sampled: [1] });
});

test('in another group it runs beside the row before it, at the position that this writes next', async () => {
  const { batches, forward } = machine(true);
  const merged = { kernels: '' };
  assert.deepEqual([...(await forward({ ...lone, first: 4, merged, pastBefore: 11 }))], [7, 5, 1]);
  const { first, pasts, sampled, merged: on } = batches.at(-1)!;
  assert.deepEqual([first, pasts, sampled, on], [3, [11, 5], [1], merged]);
});

test('its adapter stays its own', async () => {
  const { batches, forward } = machine(true);
  const row = {} as RowAdapter;
  const logits = await forward({ ...lone, adapters: [row] });
  const { adapters, sampled } = batches.at(-1)!;
  // lm_head may be adapted too, so both rows pass it; the spare one's logits are left out.
  assert.deepEqual([adapters, sampled, logits.length], [[null, row], [0, 1], vocabulary]);
});

test('prompts and batches pass as they are', async () => {
  const { batches, forward } = machine(true);
  const prompt: ForwardBatch = { ...lone, phase: 'prefill' };
  await forward(prompt);
  await forward(pair);
  assert.deepEqual(batches, [prompt, pair]);
});

test('each kind of step is looked at once', async () => {
  const { batches, forward } = machine(false, ({ tokens }) => String(tokens[0]! % 2));
  for (const token of [2, 4, 3, 5, 6]) await forward({ ...lone, tokens: [token] });
  assert.deepEqual(
    batches.map(({ tokens }) => tokens),
    [[2], [2, 2], [4], [3], [3, 3], [5], [6]],
  );
});
