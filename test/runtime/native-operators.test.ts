// The operators of native/ in a session: through ONNX Runtime's own table, threads and memory.

import assert from 'node:assert/strict';
import test from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { runOnce } from '../../src/runtime/run-once.ts';

const runtimeOf = (variant: string | null, threads = 2) =>
  createOnnxRuntime({ library: null, threads, spin: false, variant });

async function gatedSilu(variant: string | null, x: Float32Array, rows: number, threads?: number) {
  const runtime = runtimeOf(variant, threads);
  const [width, n] = [x.length / rows, Math.floor(x.length / rows / 2)];
  const g = createGraphBuilder();
  g.native('GatedSilu', [g.input('x', 'float32', ['R', width])], {}, g.output('y', 'float32', ['R', n]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights: new Map() });
  const y = new Float32Array(rows * n);
  await runOnce(session, ({ input, output }) => {
    input('x', runtime.tensor(x, [rows, width]));
    output('y', runtime.tensor(y, [rows, n]));
  });
  session.release();
  return y;
}

const silu = (v: number) => v / (1 + Math.exp(-v));

for (const variant of [null, 'scalar']) {
  test(`an operator computes, whatever the rows and widths, on ${variant ?? 'this processor'}`, async () => {
    for (const [rows, n] of [
      [1, 1],
      [1, 576],
      [3, 1536],
      [17, 1031],
    ] as const) {
      const x = Float32Array.from({ length: rows * 2 * n }, (_, i) => Math.sin(i * 1.7) * 30);
      const y = await gatedSilu(variant, x, rows);
      for (let i = 0; i < y.length; i++) {
        const at = Math.floor(i / n) * 2 * n + (i % n);
        const expected = silu(x[at]!) * x[at + n]!;
        assert.ok(Math.abs(y[i]! - expected) <= 1e-6 * Math.abs(expected) + 1e-30, `${y[i]} is not ${expected}`);
      }
    }
  });
}

test('the ends of the numbers', async () => {
  const gates = [0, -1000, 1000, Number.POSITIVE_INFINITY, Number.NaN];
  const y = await gatedSilu(null, Float32Array.from([...gates, ...gates.map(() => 1)]), 1);
  assert.equal(y[0], 0);
  assert.ok(Math.abs(y[1]!) < 1e-30);
  assert.equal(y[2], 1000);
  assert.equal(y[3], Number.POSITIVE_INFINITY);
  assert.ok(Number.isNaN(y[4]));
});

test('threads change no bit', async () => {
  const x = Float32Array.from({ length: 5 * 2 * 3000 }, (_, i) => Math.cos(i));
  assert.deepEqual(await gatedSilu(null, x, 5, 1), await gatedSilu(null, x, 5, 3));
});

test('what an operator refuses is an error of the run, with its words', async () => {
  await assert.rejects(gatedSilu(null, new Float32Array(3), 1), /GatedSilu: x must be \[R, 2n\]/);
});

test('a variant that this processor lacks is an operating error', () => {
  assert.throws(
    () => runtimeOf('abacus'),
    (error) => error instanceof LorikeetError && error.code === 'runtime_unavailable' && /abacus/.test(error.message),
  );
});
