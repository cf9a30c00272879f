// What comes back of logits in device memory is what the whole rows say.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { prng } from '../../../src/core/prng.ts';
import { defaultSamplingParams } from '../../../src/core/sampling-params.ts';
import { createRowSessions } from '../../../src/engine/kv/row-sessions.ts';
import { createDeviceLogits, orderEquals } from '../../../src/engine/runner/device-logits.ts';
import { createSampler } from '../../../src/engine/sampling/sampler.ts';
import { topNames } from '../../../src/graph/top-logits.ts';
import { testRuntime } from '../../helpers/test-runtime.ts';
import { topOf } from '../top-of.ts';

const vocabulary = 1000;

function opened(t: TestContext, rows: number, width = vocabulary) {
  const runtime = testRuntime();
  const sessions = createRowSessions(runtime, 'float32');
  const logits = createDeviceLogits(runtime, sessions, { rows, vocabulary: width });
  t.after(async () => {
    logits.release();
    await sessions.release();
  });
  /** Leaves logits in the device's memory, as a run of the decoder does. */
  const leave = async (data: Float32Array<ArrayBuffer>) => {
    const count = data.length / width;
    const session = await sessions.fetch(width);
    const binding = session.bind();
    const every = BigInt64Array.from({ length: count }, (_, row) => BigInt(row));
    binding.input(topNames.logits, runtime.tensor(data, [count, width]));
    binding.input(topNames.wanted, runtime.tensor(every, [count]));
    binding.output(topNames.rows, logits.view(count));
    await session.run(binding);
    binding.release();
  };
  return { logits, leave };
}

const random = prng(3);
const rowsOf = (count: number, width = vocabulary) =>
  Float32Array.from({ length: count * width }, () => 40 * random() - 20);

const near = (found: number, wanted: number) =>
  assert.ok(Math.abs(found - wanted) <= 1e-4 * Math.abs(wanted), `${found} for ${wanted}`);

test('the best of each row, in order, and what all of them weigh, for steps of changing sizes', async (t) => {
  const { logits, leave } = opened(t, 5);
  for (const count of [5, 1, 3, 5, 1]) {
    const data = rowsOf(count);
    const temperatures = Array.from({ length: count }, (_, row) => [0, 1, 0.3, 2, 0.05][row]!);
    await leave(data);
    const found = await logits.top(temperatures);
    assert.equal(found.length, count);
    for (const [row, top] of found.entries()) {
      const wanted = topOf(data.subarray(row * vocabulary, (row + 1) * vocabulary), 64, temperatures[row]!);
      assert.deepEqual([Array.from(top.tokens), Array.from(top.logits)], [wanted.tokens, wanted.logits]);
      near(top.mass, wanted.mass);
      near(top.sharpMass, wanted.sharpMass);
      assert.equal(top.vocabulary, vocabulary);
    }
  }
});

test('of equal logits the first comes first', async (t) => {
  const { logits, leave } = opened(t, 2);
  const data = rowsOf(2);
  for (const token of [900, 17, 400, 18]) data[token] = 50;
  for (const token of [3, 2, 1]) data[vocabulary + token] = 50;
  await leave(data);
  const found = await logits.top([0, 0]);
  assert.deepEqual(Array.from(found[0]!.tokens).slice(0, 4), [17, 18, 400, 900]);
  assert.deepEqual(Array.from(found[1]!.tokens).slice(0, 3), [1, 2, 3]);
});

test('equal logits are put in order wherever they stand', () => {
  const tokens = [9, 4, 8, 2, 7, 1, 3];
  orderEquals(tokens, Float32Array.of(5, 5, 4, 4, 4, 3, 2));
  assert.deepEqual(tokens, [4, 9, 2, 7, 8, 1, 3]);
});

test('rows are fetched whole, those that are asked for', async (t) => {
  const { logits, leave } = opened(t, 4);
  const data = rowsOf(4);
  await leave(data);
  const row = (at: number) => data.slice(at * vocabulary, (at + 1) * vocabulary);
  assert.deepEqual(await logits.whole([2], 4), [row(2)]);
  assert.deepEqual(await logits.whole([0, 3], 4), [row(0), row(3)]);
});

test('a vocabulary smaller than what comes back comes back whole', async (t) => {
  const { logits, leave } = opened(t, 1, 24);
  const data = rowsOf(1, 24);
  await leave(data);
  const [top] = await logits.top([1]);
  assert.deepEqual(Array.from(top!.tokens), topOf(data, 24, 1).tokens);
});

test('a logit that is no number is found out', async (t) => {
  const { logits, leave } = opened(t, 3);
  const data = rowsOf(3);
  data[5] = Number.NaN;
  data[vocabulary + 7] = Number.POSITIVE_INFINITY;
  await leave(data);
  const [first, second, sound] = await logits.top([0, 1, 1]);
  const sampler = () => createSampler({ ...defaultSamplingParams, seed: 1 }, [], () => 1);
  assert.throws(() => sampler().sampleTop(first!), /not finite/);
  assert.throws(() => sampler().sampleTop(second!), /not finite/);
  sampler().sampleTop(sound!);
});
