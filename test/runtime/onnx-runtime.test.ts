// The real ONNX Runtime through its C API.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Device } from '../../src/core/device.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { packagedLibrary } from '../../src/runtime/packaged-library.ts';
import { probeModel } from '../../src/runtime/probe-model.ts';
import type { Session, Tensor } from '../../src/runtime/session.ts';
import { testRuntime } from '../helpers/test-runtime.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const runtime = testRuntime();

/** y [R, n] = x [R, n] · w [n, n] with w as a weight, `times` times in a row. */
function productModel(n: number, times = 1): Uint8Array {
  const g = createGraphBuilder();
  let x = g.input('x', 'float32', ['R', n]);
  g.weight('w', 'float32', [n, n]);
  for (let i = 0; i < times; i++) x = g.op('MatMul', [x, 'w'], {}, i === times - 1 ? 'y' : undefined);
  g.output('y', 'float32', ['R', n]);
  return encodeOnnx(g.build());
}

/** Weights that swap neighbouring columns: applying them twice changes nothing. */
function exchange(n: number): Float32Array {
  const w = new Float32Array(n * n);
  for (let i = 0; i < n; i++) w[i * n + (i ^ 1)] = 1;
  return w;
}

function productSession(n: number, times = 1): Promise<Session> {
  const weights = new Map([['w', runtime.tensor(exchange(n), [n, n])]]);
  return runtime.session(productModel(n, times), { weights });
}

test('the model that proves a device is what an encoder makes of it', () => {
  const g = createGraphBuilder();
  g.op('Identity', [g.input('x', 'float32', ['N'])], {}, g.output('y', 'float32', ['N']));
  assert.deepEqual(Buffer.from(probeModel), Buffer.from(encodeOnnx(g.build())));
});

test('says what it is', () => {
  assert.match(runtime.name, /^onnxruntime \d+\.\d+\.\d+, native operators \w+$/);
  assert.ok(runtime.providers.includes('CPUExecutionProvider'));
  assert.equal(runtime.threads, 1);
});

test('a library that cannot be loaded is an operating error with its path', () => {
  for (const library of ['/nowhere/libonnxruntime.so.1', import.meta.filename]) {
    assert.throws(
      () => createOnnxRuntime({ library, threads: 1, spin: false }),
      (error) =>
        error instanceof LorikeetError && error.code === 'runtime_unavailable' && error.message.includes(library),
    );
  }
});

test('the packaged library is a file of the onnxruntime-node package', () => {
  assert.match(packagedLibrary(), /onnxruntime-node/);
});

test('a shape that is not the data’s length is refused', () => {
  assert.throws(() => runtime.tensor(new Float32Array(6), [2, 2]), /Shape \[2,2\] is not 6 elements/);
  const moved = new Float32Array(4);
  structuredClone(moved, { transfer: [moved.buffer] });
  assert.throws(() => runtime.tensor(moved, [4]));
});

test('results land in the bound memory, in place, for every run', async () => {
  const session = await productSession(2);
  const binding = session.bind();
  const x = new Float32Array(2);
  const y = new Float32Array(2);
  binding.input('x', runtime.tensor(x, [1, 2]));
  binding.output('y', runtime.tensor(y, [1, 2]));
  // Includes the same input again, and an earlier one: inputs that are not sent again must still be there.
  for (const [a, b] of [
    [1, 2],
    [3, 4],
    [3, 4],
    [0, 4],
    [1, 2],
  ] as const) {
    x.set([a, b]);
    y.fill(9);
    await session.run(binding);
    assert.deepEqual([...y], [b, a]);
  }
});

test('a tensor may be bound again under the same name', async () => {
  const session = await productSession(2);
  const binding = session.bind();
  for (const rows of [1, 3, 2]) {
    const x = Float32Array.from({ length: rows * 2 }, (_, i) => i);
    const y = new Float32Array(rows * 2);
    binding.input('x', runtime.tensor(x, [rows, 2]));
    binding.output('y', runtime.tensor(y, [rows, 2]));
    await session.run(binding);
    assert.deepEqual([...y], [...x.map((_, i) => x[i ^ 1]!)]);
  }
});

test('a run that fails rejects with what ONNX Runtime said, and the session is still good', async () => {
  const session = await productSession(2);
  const binding = session.bind();
  const y = new Float32Array(2);
  binding.input('x', runtime.tensor(new Float32Array(3), [1, 3]));
  binding.output('y', runtime.tensor(y, [1, 2]));
  await assert.rejects(session.run(binding), /ONNX Runtime: .+/);
  binding.input('x', runtime.tensor(Float32Array.of(5, 6), [1, 2]));
  await session.run(binding);
  assert.deepEqual([...y], [6, 5]);
});

test('unknown names and bytes that are no model are refused', async () => {
  const session = await productSession(2);
  const binding = session.bind();
  await assert.rejects(async () => {
    binding.input('z', runtime.tensor(new Float32Array(2), [1, 2]));
    await session.run(binding);
  }, /ONNX Runtime: .*z/);
  await assert.rejects(() => runtime.session(new Uint8Array(64).fill(255), { weights: new Map() }), /ONNX Runtime: /);
  await assert.rejects(() => runtime.session(productModel(2), { weights: new Map() }), /ONNX Runtime: /);
});

test('sessions that share weights give the same results', async () => {
  const n = 64;
  const weights = new Map([['w', runtime.tensor(exchange(n), [n, n])]]);
  const results: Float32Array[] = [];
  for (let i = 0; i < 2; i++) {
    const session = await runtime.session(productModel(n, 3), { weights });
    const binding = session.bind();
    const y = new Float32Array(n);
    binding.input('x', runtime.tensor(Float32Array.from({ length: n }, Math.sqrt), [1, n]));
    binding.output('y', runtime.tensor(y, [1, n]));
    await session.run(binding);
    results.push(y);
  }
  assert.deepEqual(results[0], results[1]);
});

test('bound memory and weights live as long as what uses them', async () => {
  const n = 4096;
  const g = createGraphBuilder();
  // A sum reads its weight in every run; of a matrix the session would keep a packed copy.
  g.weight('w', 'float32', [n]);
  g.op('Add', [g.input('x', 'float32', [n]), 'w'], {}, g.output('y', 'float32', [n]));
  const model = encodeOnnx(g.build());
  const open = () => {
    const w = Float32Array.from({ length: n }, (_, i) => -i);
    return runtime.session(model, { weights: new Map([['w', runtime.tensor(w, [n])]]) });
  };
  const session = await open();
  const binding = session.bind();
  const bindInput = () => binding.input('x', runtime.tensor(new Float32Array(n).fill(n), [n]));
  bindInput();
  const y = new Float32Array(n);
  binding.output('y', runtime.tensor(y, [n]));
  for (let round = 0; round < 20; round++) {
    collectGarbage();
    await nextTurn();
    // Allocates memory over what may have been freed.
    const litter = Array.from({ length: 200 }, () => new Float32Array(n).fill(Number.NaN));
    await session.run(binding);
    assert.equal(litter.length, 200);
    for (let i = 0; i < n; i++) assert.equal(y[i], n - i);
  }
});

test('the event loop turns while a run computes', async () => {
  const n = runtime.device ? 128 : 512;
  const session = await productSession(n, 200);
  const binding = session.bind();
  const rows = 16;
  binding.input('x', runtime.tensor(new Float32Array(rows * n), [rows, n]));
  binding.output('y', runtime.tensor(new Float32Array(rows * n), [rows, n]));
  let done = false;
  const run = session.run(binding).then(() => {
    done = true;
  });
  let turns = 0;
  while (!done) {
    await nextTurn();
    turns++;
  }
  await run;
  // If the run were on this thread, its promise would settle before the first turn.
  assert.ok(turns > 10, `${turns} turns`);
});

test('released objects refuse to be used', async () => {
  const session = await productSession(2);
  const binding = session.bind();
  const tensor = runtime.tensor(new Float32Array(2), [1, 2]);
  tensor.release();
  assert.throws(() => binding.input('x', tensor), /released/);
  assert.throws(() => tensor.release(), /released/);
  await assert.rejects(() => runtime.session(productModel(2), { weights: new Map([['w', tensor]]) }), /released/);
  binding.release();
  await assert.rejects(() => session.run(binding), /released/);
  assert.throws(() => binding.release(), /released/);
  session.release();
  assert.throws(() => session.bind(), /released/);
  assert.throws(() => session.release(), /released/);
});

test('memory where sessions compute: runs write it in place, views share it, and it ends', async () => {
  const session = await productSession(2);
  const memory = runtime.allocate('float32', 6);
  const upper = memory.view(0, [1, 2]);
  const through = async (input: Tensor, output: Tensor) => {
    const binding = session.bind();
    binding.input('x', input);
    binding.output('y', output);
    await session.run(binding);
    binding.release();
  };
  await through(runtime.tensor(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]), memory.view(0, [3, 2]));
  const y = new Float32Array(2);
  await through(upper, runtime.tensor(y, [1, 2]));
  assert.deepEqual([...y], [1, 2]);
  if (runtime.device?.anchored) assert.throws(() => memory.view(2, [1, 2]), /begin at the start/);
  else {
    await through(memory.view(4, [1, 2]), runtime.tensor(y, [1, 2]));
    assert.deepEqual([...y], [5, 6]);
  }
  assert.throws(() => memory.view(0, [7]), /7/);
  upper.release();
  memory.release();
});

test('a device that is not there is an operating error that says what was looked at, and what to do', () => {
  const open = (device: Device, library: string | null = null) =>
    createOnnxRuntime({ library, threads: 1, spin: false, device, cudaDir: '/nowhere/cuda' });
  const refused = (code: string, pattern: RegExp) => (error: unknown) =>
    error instanceof LorikeetError && error.code === code && pattern.test(error.message);
  assert.throws(() => open({ kind: 'cuda', index: 99 }), refused('device_unavailable', /cuda.*setup-cuda/));
  // The packaged library knows the name CUDA but lacks the provider's library.
  const packaged = packagedLibrary();
  assert.throws(
    () => open({ kind: 'cuda', index: 99 }, packaged),
    refused('device_unavailable', /cuda:99.*setup-cuda/),
  );
  assert.throws(() => open({ kind: 'webgpu' }, '/nowhere.so'), refused('runtime_unavailable', /nowhere/));
});
