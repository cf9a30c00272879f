// The idle-class thread gives the same results as any other; it starts when it is needed and ends afterwards.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { idlePolicy, schedulingPolicies } from '../helpers/scheduling-policies.ts';

const runtime = createOnnxRuntime({ library: null, threads: 1, spin: false });

/** y [R] = x [R] + w [1] */
function sumModel(): Uint8Array {
  const g = createGraphBuilder();
  const x = g.input('x', 'float32', ['R']);
  g.weight('w', 'float32', [1]);
  g.op('Add', [x, 'w'], {}, g.output('y', 'float32', ['R']));
  return encodeOnnx(g.build());
}

const sumSession = (aside: boolean) => {
  const weights = new Map([['w', runtime.tensor(Float32Array.of(10), [1])]]);
  return runtime.session(sumModel(), { weights, aside });
};

async function sumOf(values: readonly number[], made: boolean, ran: boolean): Promise<number[]> {
  const session = await sumSession(made);
  const binding = session.bind();
  const y = new Float32Array(values.length);
  binding.input('x', runtime.tensor(Float32Array.from(values), [values.length]));
  binding.output('y', runtime.tensor(y, [values.length]));
  await session.run(binding, { aside: ran });
  binding.release();
  session.release();
  return [...y];
}

const onLinux = { skip: process.platform !== 'linux' };

// Must be the first test: what another one learned about the room would still hold.
test('where others leave nothing, calls are made like any other', onLinux, async (context) => {
  const cores = availableParallelism() + 1;
  const busy = Array.from({ length: cores }, () => spawn('sh', ['-c', 'while :; do :; done']));
  context.after(() => busy.map((one) => one.kill('SIGKILL')));
  const start = performance.now();
  for (let i = 0; i < 3; i++) assert.deepEqual(await sumOf([i], true, true), [10 + i]);
  // Six calls, each after a second of patience; the test is that they end.
  context.diagnostic(`${Math.round(performance.now() - start)} ms`);
});

test('sessions made aside and runs aside give what others give', async () => {
  for (const made of [false, true]) {
    for (const ran of [false, true]) assert.deepEqual(await sumOf([1, 2, 3], made, ran), [11, 12, 13]);
  }
});

test('many at once take their turns, each with its own result', async () => {
  const sums = await Promise.all(Array.from({ length: 8 }, (_, i) => sumOf([i], true, true)));
  assert.deepEqual(
    sums,
    Array.from({ length: 8 }, (_, i) => [10 + i]),
  );
});

test('what fails aside says what ONNX Runtime said, and the next call is good', async () => {
  const weights = new Map([['w', runtime.tensor(Float32Array.of(10), [1])]]);
  await assert.rejects(runtime.session(Uint8Array.of(1, 2, 3), { weights, aside: true }), /ONNX Runtime: .+/);
  assert.deepEqual(await sumOf([4], true, true), [14]);
});

test('only that thread is of the idle class; it ends when nobody calls, and comes again', onLinux, async () => {
  await sumOf([1], true, true);
  assert.equal(schedulingPolicies('self').filter((policy) => policy === idlePolicy).length, 1);
  const end = performance.now() + 20_000;
  while (schedulingPolicies('self').includes(idlePolicy) && performance.now() < end) await sleep(100);
  assert.ok(!schedulingPolicies('self').includes(idlePolicy), 'it is still there');
  assert.deepEqual(await sumOf([5], true, true), [15]);
});
