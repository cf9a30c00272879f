// The graph's linears in the real runtime against plain arithmetic. Activations are chosen so that rounding them to
// 8 bits loses nothing: whole numbers, with 127 in every block of 32. What is left is float32's own rounding.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { linear } from '../../src/graph/linear.ts';
import type { LinearForm, LoweredModel, LoweredTensor } from '../../src/graph/lowered.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { linearValues } from './linear-values.ts';

const runtime = createOnnxRuntime({ library: null, threads: 1, spin: false });
const random = prng(9);
const whole = (from: number, to: number) => from + Math.floor(random() * (to - from + 1));
const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5);

function randomLinear({ bits, n, k, corrected, bias }: LinearForm): Map<string, LoweredTensor> {
  const weights = new Map<string, LoweredTensor>();
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

function activations(rows: number, k: number): Float32Array {
  return Float32Array.from({ length: rows * k }, (_, i) => (i % 32 === 5 ? 127 : whole(-127, 127)));
}

async function run(form: LinearForm, weights: Map<string, LoweredTensor>, x: Float32Array): Promise<Float32Array> {
  const rows = x.length / form.k;
  const g = createGraphBuilder();
  g.input('in', 'float32', ['R', form.k]);
  g.output('out', 'float32', ['R', form.n]);
  for (const [name, { type, shape }] of weights) g.weight(name, type, shape);
  linear(g, form, 'x', 'in', 'out');
  const tensors = new Map([...weights].map(([name, { data, shape }]) => [name, runtime.tensor(data, shape)]));
  const session = runtime.session(encodeOnnx(g.build()), { weights: tensors });
  const binding = session.bind();
  const out = new Float32Array(rows * form.n);
  binding.input('in', runtime.tensor(x, [rows, form.k]));
  binding.output('out', runtime.tensor(out, [rows, form.n]));
  await session.run(binding);
  binding.release();
  session.release();
  return out;
}

for (const bits of [4, 8, 32] as const) {
  for (const corrected of bits === 32 ? [false] : [false, true]) {
    for (const bias of [false, true]) {
      const name = `${bits} bits${corrected ? ', with minimums' : ''}${bias ? ', with bias' : ''}`;
      test(`the runtime computes x·Wᵀ: ${name}`, async () => {
        for (const [rows, n, k] of [
          [1, 40, 32],
          [1, 64, 576],
          [7, 33, 96],
          [64, 16, 128],
        ] as const) {
          const form: LinearForm = { bits, n, k, corrected, bias };
          const weights = randomLinear(form);
          const x = activations(rows, k);
          const model = { linears: new Map([['x', form]]), weights } as unknown as LoweredModel;
          const w = linearValues(model, 'x');
          const y = await run(form, weights, x);
          for (let row = 0; row < rows; row++) {
            for (let column = 0; column < n; column++) {
              let [sum, size] = [0, 0];
              for (let i = 0; i < k; i++) {
                const product = x[row * k + i]! * w[column * k + i]!;
                sum += product;
                size += Math.abs(product);
              }
              if (bias) sum += weights.get('x.bias')!.data[column]!;
              // Minimums are taken apart from their weights, and each part may be larger than the whole.
              const error = Math.abs(y[row * n + column]! - sum) / (size + 1);
              assert.ok(error < 2e-5, `[${row}, ${column}] is ${y[row * n + column]} for ${sum}`);
            }
          }
        }
      });
    }
  }
}
