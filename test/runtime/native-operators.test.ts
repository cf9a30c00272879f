// The native operators in a session, with ONNX Runtime's own table, threads and memory.

import assert from 'node:assert/strict';
import test from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { createPackedFloats, packedFloatTensor, writeFloats } from '../../src/graph/packed.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { runOnce } from '../../src/runtime/run-once.ts';

const runtimeOf = (variant: string | null, threads = 2) =>
  createOnnxRuntime({ library: null, threads, spin: false, variant });

/** silu(gate) * up of each row, by a linear that changes nothing else: its weights are 1 on the diagonal. */
async function gatedSilu(variant: string | null, x: Float32Array, rows: number, threads?: number) {
  const runtime = runtimeOf(variant, threads);
  const [width, n] = [x.length / rows, Math.floor(x.length / rows / 2)];
  const g = createGraphBuilder();
  const weights = createPackedFloats(32, n, n);
  for (let i = 0; i < n; i++) writeFloats(weights, n, i, new Float32Array(n).fill(1, i, i + 1));
  const { type, shape } = packedFloatTensor(n, n, weights);
  const operands = [g.input('x', 'float32', ['R', width]), g.input('w', type, shape)];
  g.native('FloatLinear', operands, { n, k: n, gated: 1 }, g.output('y', 'float32', ['R', n]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights: new Map() });
  const y = new Float32Array(rows * n);
  await runOnce(session, ({ input, output }) => {
    input('x', runtime.tensor(x, [rows, width]));
    input('w', runtime.tensor(weights, shape));
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
      [1, 96],
      [3, 136],
      [17, 131],
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
  const siluOf = async (gate: number) => (await gatedSilu(null, Float32Array.of(gate, 1), 1))[0]!;
  assert.equal(await siluOf(0), 0);
  assert.ok(Math.abs(await siluOf(-1000)) < 1e-30);
  assert.equal(await siluOf(1000), 1000);
  assert.equal(await siluOf(Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
  assert.ok(Number.isNaN(await siluOf(Number.NaN)));
});

test('threads change no bit', async () => {
  const x = Float32Array.from({ length: 5 * 2 * 300 }, (_, i) => Math.cos(i));
  assert.deepEqual(await gatedSilu(null, x, 5, 1), await gatedSilu(null, x, 5, 3));
});

test('what an operator refuses is an error of the run, with its words', async () => {
  await assert.rejects(gatedSilu(null, new Float32Array(3), 1), /x must be \[R, 2k\]/);
});

test('a variant that this processor lacks is an operating error', () => {
  assert.throws(
    () => runtimeOf('abacus'),
    (error) => error instanceof LorikeetError && error.code === 'runtime_unavailable' && /abacus/.test(error.message),
  );
});
