// The graph's linears in the real runtime against plain arithmetic. Activations are whole numbers with 127 in every
// block of 32, so that rounding them to 8 bits loses nothing, and only float32's own rounding is left.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { Activations } from '../../src/core/base-model.ts';
import { prng } from '../../src/core/prng.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { hostLinear, packedAttributes } from '../../src/graph/linear.ts';
import { isFloats, type LinearForm, type LoweredTensor } from '../../src/graph/lowered.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { runOnce } from '../../src/runtime/run-once.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { linearValues } from './linear-values.ts';
import { randomLinear } from './random-linear.ts';

const made = new Map<string | null, Runtime>();
function runtimes(variant: string | null): Runtime {
  const runtime = made.get(variant) ?? createOnnxRuntime({ library: null, threads: 2, spin: false, variant });
  made.set(variant, runtime);
  return runtime;
}
const random = prng(9);
const whole = (from: number, to: number) => from + Math.floor(random() * (to - from + 1));
const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5);

function wholeActivations(rows: number, k: number): Float32Array {
  return Float32Array.from({ length: rows * k }, (_, i) => (i % 32 === 5 ? 127 : whole(-127, 127)));
}

type Weights = Map<string, LoweredTensor>;

/** @param activations of all rows; or the number of rows that are rounded to 8 bits, with the others at 16 */
async function run(
  runtime: Runtime,
  form: LinearForm,
  activations: Activations | number,
  weights: Weights,
  x: Float32Array,
): Promise<Float32Array> {
  const rows = x.length / form.k;
  const g = createGraphBuilder();
  g.input('in', 'float32', ['R', form.k]);
  g.output('out', 'float32', ['R', form.n]);
  for (const [name, { type, shape }] of weights) g.weight(name, type, shape);
  g.input('coarse', 'int32', [1]);
  hostLinear(g, { name: 'x', form, coarse: 'coarse' }, { x: 'in' }, undefined, 'out');
  const tensors = new Map([...weights].map(([name, { data, shape }]) => [name, runtime.tensor(data, shape)]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights: tensors });
  const binding = session.bind();
  const out = new Float32Array(rows * form.n);
  binding.input('in', runtime.tensor(x, [rows, form.k]));
  const coarse = typeof activations === 'number' ? activations : { int8: rows, int16: 0 }[activations];
  if (!isFloats(form.bits)) binding.input('coarse', runtime.tensor(Int32Array.of(coarse), [1]));
  binding.output('out', runtime.tensor(out, [rows, form.n]));
  await session.run(binding);
  binding.release();
  session.release();
  return out;
}

/** The largest difference from plain arithmetic, over the sum of magnitudes. */
function largestError(form: LinearForm, weights: Weights, x: Float32Array, y: Float32Array): number {
  const { n, k, bias } = form;
  const w = linearValues({ linears: new Map([['x', form]]), weights }, 'x');
  let largest = 0;
  for (let i = 0; i < y.length; i++) {
    const [row, column] = [Math.floor(i / n), i % n];
    let sum = bias ? weights.get('x.bias')!.data[column]! : 0;
    let size = 1;
    for (let j = 0; j < k; j++) {
      const product = x[row * k + j]! * w[column * k + j]!;
      sum += product;
      size += Math.abs(product);
    }
    largest = Math.max(largest, Math.abs(y[i]! - sum) / size);
  }
  return largest;
}

const sizes = [
  [1, 40, 32],
  [13, 3, 64],
  [70, 100, 96],
  [1, 64, 576],
  [7, 33, 96],
  [64, 16, 128],
] as const;

async function check(
  form: Omit<LinearForm, 'n' | 'k'>,
  activations: Activations,
  variant: string | null,
): Promise<void> {
  for (const [rows, n, k] of sizes) {
    const sized = { ...form, n, k };
    const weights = randomLinear('x', sized, random);
    const x = activations === 'int8' ? wholeActivations(rows, k) : floats(rows * k);
    const runtime = runtimes(variant);
    const error = largestError(sized, weights, x, await run(runtime, sized, activations, weights, x));
    assert.ok(error < 2e-5, `[${rows}, ${k}] x [${k}, ${n}]: ${error}`);
  }
}

for (const variant of [null, 'scalar']) {
  for (const bias of [false, true]) {
    const detail = `${bias ? ', with bias' : ''} (${variant ?? 'this processor'})`;
    for (const bits of [4, 8] as const) {
      for (const activations of ['int8', 'int16'] as const) {
        test(`${bits} bits, activations ${activations}${detail}`, async () => {
          for (const corrected of [false, true]) {
            for (const halves of [false, true]) await check({ bits, corrected, halves, bias }, activations, variant);
          }
        });
      }
    }
    for (const bits of [16, 32] as const) {
      const form = { bits, corrected: false, halves: false, bias };
      test(`floats of ${bits} bits${detail}`, () => check(form, 'int16', variant));
    }
  }
}

test('rounding activations to 8 bits errs by no more than a 254th of a block’s extreme each', async () => {
  const form = { bits: 4, n: 32, k: 64, corrected: true, halves: true, bias: false } as const;
  const weights = randomLinear('x', form, random);
  const x = floats(8 * form.k);
  const error = largestError(form, weights, x, await run(runtimes(null), form, 'int8', weights, x));
  assert.ok(error > 1e-5 && error < 1 / 64, `${error}`);
});

test('a row has the same bits alone, beside any others, and on any number of threads', async () => {
  const forms = [4, 8].flatMap((bits) =>
    [false, true].map((corrected) => ({ bits: bits as 4 | 8, corrected, halves: corrected, bias: true })),
  );
  const ofFloats = ([16, 32] as const).map((bits) => ({ bits, corrected: false, halves: false, bias: false }));
  for (const form of [...forms, ...ofFloats]) {
    const sized = { ...form, n: 77, k: 192 };
    const weights = randomLinear('x', sized, random);
    const rows = 71;
    const x = floats(rows * sized.k);
    const oneThread = createOnnxRuntime({ library: null, threads: 1, spin: false });
    for (const activations of ['int8', 'int16'] as const) {
      const all = await run(runtimes(null), sized, activations, weights, x);
      assert.deepEqual(await run(oneThread, sized, activations, weights, x), all);
      for (const count of [1, 2, 3, 5, 8, 13, 66]) {
        const first = whole(0, rows - count);
        const some = x.slice(first * sized.k, (first + count) * sized.k);
        const wanted = all.slice(first * sized.n, (first + count) * sized.n);
        assert.deepEqual(await run(runtimes(null), sized, activations, weights, some), wanted);
      }
    }
  }
});

test('in one run the first rows have the bits of 8-bit activations, the others those of 16-bit ones', async () => {
  for (const bits of [4, 8] as const) {
    const form = { bits, n: 77, k: 192, corrected: true, halves: true, bias: true };
    const weights = randomLinear('x', form, random);
    const rows = 149;
    const x = floats(rows * form.k);
    for (const variant of [null, 'scalar']) {
      const ofInt8 = await run(runtimes(variant), form, 'int8', weights, x);
      const ofInt16 = await run(runtimes(variant), form, 'int16', weights, x);
      for (const coarse of [1, 7, 16, 100, 148]) {
        const y = await run(runtimes(variant), form, coarse, weights, x);
        assert.deepEqual(y.slice(0, coarse * form.n), ofInt8.slice(0, coarse * form.n));
        assert.deepEqual(y.slice(coarse * form.n), ofInt16.slice(coarse * form.n));
      }
    }
  }
});

test('a row that is no number, or infinite, spoils no other', async () => {
  for (const bits of [4, 8, 16, 32] as const) {
    const form = { bits, n: 24, k: 64, corrected: bits === 4, halves: bits < 16, bias: false };
    const weights = randomLinear('x', form, random);
    for (const activations of ['int8', 'int16'] as const) {
      const x = floats(3 * form.k);
      const alone = await run(runtimes(null), form, activations, weights, x.slice(form.k, 2 * form.k));
      x[5] = Number.NaN;
      x[2 * form.k + 40] = Number.POSITIVE_INFINITY;
      const y = await run(runtimes(null), form, activations, weights, x);
      assert.deepEqual(y.slice(form.n, 2 * form.n), alone);
      assert.ok(y.subarray(0, form.n).every(Number.isNaN));
      assert.ok(y.subarray(2 * form.n).every((value) => !Number.isFinite(value)));
    }
  }
});

test('tokens of the embedding are rows of the weights, and one past them is an error with words', async () => {
  for (const bits of [4, 8] as const) {
    const form = { bits, n: 37, k: 96, corrected: bits === 4, halves: true, bias: false };
    const weights = randomLinear('x', form, random);
    const values = linearValues({ linears: new Map([['x', form]]), weights }, 'x');
    const runtime = runtimes(null);
    const g = createGraphBuilder();
    for (const [name, { type, shape }] of weights) g.weight(name, type, shape);
    const operands = [g.input('tokens', 'int64', ['R']), 'x.packed'];
    g.native('QuantizedEmbedding', operands, packedAttributes(form), g.output('out', 'float32', ['R', form.k]));
    const tensors = new Map([...weights].map(([name, { data, shape }]) => [name, runtime.tensor(data, shape)]));
    const session = await runtime.session(encodeOnnx(g.build()), { weights: tensors });
    const rowsOf = async (tokens: readonly number[]) => {
      const out = new Float32Array(tokens.length * form.k);
      await runOnce(session, ({ input, output }) => {
        input('tokens', runtime.tensor(BigInt64Array.from(tokens, BigInt), [tokens.length]));
        output('out', runtime.tensor(out, [tokens.length, form.k]));
      });
      return out;
    };
    const tokens = [0, 36, 7, 8, 7];
    for (const [i, value] of (await rowsOf(tokens)).entries()) {
      const wanted = values[tokens[Math.floor(i / form.k)]! * form.k + (i % form.k)]!;
      assert.ok(Math.abs(value - wanted) <= 1e-6 * (1 + Math.abs(wanted)), `${value} is not ${wanted}`);
    }
    for (const token of [37, -1, 2 ** 40]) await assert.rejects(rowsOf([token]), /there is no such token/);
    session.release();
  }
});
