// The graph's linears in the real runtime against plain arithmetic. Activations are chosen so that rounding them to
// 8 bits loses nothing: whole numbers, with 127 in every block of 32. What is left is float32's own rounding.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { Activations } from '../../src/core/base-model.ts';
import { prng } from '../../src/core/prng.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { linear } from '../../src/graph/linear.ts';
import type { LinearForm, LoweredTensor } from '../../src/graph/lowered.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { linearValues } from './linear-values.ts';

const runtime = createOnnxRuntime({ library: null, threads: 1, spin: false });
const random = prng(9);
const whole = (from: number, to: number) => from + Math.floor(random() * (to - from + 1));
const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5);

function randomLinear({ bits, n, k, corrected, bias }: LinearForm): Weights {
  const weights: Weights = new Map<string, LoweredTensor>();
  const float = (name: string, shape: readonly number[]) =>
    weights.set(name, { type: 'float32', shape, data: floats(shape.reduce((a, b) => a * b)) });
  if (bits === 32) float('x.matrix', [k, n]);
  else {
    const data = Uint8Array.from({ length: (n * k * bits) / 8 }, () => whole(0, 255));
    weights.set('x.blocks', { type: 'uint8', shape: [n, k / 32, 4 * bits], data });
    float('x.scales', [(n * k) / 32]);
    if (corrected) float('x.minimums', [k / 32, n]);
  }
  if (bias) float('x.bias', [n]);
  return weights;
}

function wholeActivations(rows: number, k: number): Float32Array {
  return Float32Array.from({ length: rows * k }, (_, i) => (i % 32 === 5 ? 127 : whole(-127, 127)));
}

type Weights = Map<string, LoweredTensor>;

async function run(
  form: LinearForm,
  activations: Activations,
  weights: Weights,
  x: Float32Array,
): Promise<Float32Array> {
  const rows = x.length / form.k;
  const g = createGraphBuilder();
  g.input('in', 'float32', ['R', form.k]);
  g.output('out', 'float32', ['R', form.n]);
  for (const [name, { type, shape }] of weights) g.weight(name, type, shape);
  linear(g, { name: 'x', form, activations }, 'in', 'out');
  const tensors = new Map([...weights].map(([name, { data, shape }]) => [name, runtime.tensor(data, shape)]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights: tensors });
  const binding = session.bind();
  const out = new Float32Array(rows * form.n);
  binding.input('in', runtime.tensor(x, [rows, form.k]));
  binding.output('out', runtime.tensor(out, [rows, form.n]));
  await session.run(binding);
  binding.release();
  session.release();
  return out;
}

/** The largest difference from plain arithmetic, in parts of the sum of magnitudes. */
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
  [1, 64, 576],
  [7, 33, 96],
  [64, 16, 128],
] as const;

async function check(form: Omit<LinearForm, 'n' | 'k'>, activations: Activations): Promise<void> {
  for (const [rows, n, k] of sizes) {
    const sized = { ...form, n, k };
    const weights = randomLinear(sized);
    const x = activations === 'int8' ? wholeActivations(rows, k) : floats(rows * k);
    const error = largestError(sized, weights, x, await run(sized, activations, weights, x));
    assert.ok(error < 2e-5, `[${rows}, ${k}] x [${k}, ${n}]: ${error}`);
  }
}

for (const bias of [false, true]) {
  const withBias = bias ? ', with bias' : '';
  for (const corrected of [false, true]) {
    const detail = `${corrected ? ', with minimums' : ''}${withBias}`;
    test(`4 bits${detail}`, () => check({ bits: 4, corrected, bias }, 'int8'));
    test(`4 bits, activations as they are${detail}`, () => check({ bits: 4, corrected, bias }, 'float32'));
    test(`8 bits${detail}`, () => check({ bits: 8, corrected, bias }, 'int8'));
  }
  test(`floats${withBias}`, () => check({ bits: 32, corrected: false, bias }, 'float32'));
}

test('rounding activations to 8 bits errs by no more than a 254th of a block’s extreme each', async () => {
  const form = { bits: 4, n: 32, k: 64, corrected: true, bias: false } as const;
  const weights = randomLinear(form);
  const x = floats(8 * form.k);
  const error = largestError(form, weights, x, await run(form, 'int8', weights, x));
  assert.ok(error > 1e-5 && error < 1 / 64, `${error}`);
});
