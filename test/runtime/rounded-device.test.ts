// The pretended device of 16-bit floats (test/helpers): tensors of both types, and each operator's result rounded.

import assert from 'node:assert/strict';
import test from 'node:test';
import { ofBfloat16, toBfloat16 } from '../../src/core/bfloat16.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Rounded } from '../helpers/rounded-graph.ts';
import { asDevice, testRuntime } from '../helpers/test-runtime.ts';

const sizes = { rows: 3, k: 40, n: 8 };

/** y = (x W) W' * W' in `real`, with W given by name, W' an input, and x and y of float32. */
function graphOf(real: Rounded): Uint8Array {
  const g = createGraphBuilder();
  const { rows, k, n } = sizes;
  const x = g.cast(g.input('x', 'float32', [rows, k]), real);
  const product = g.op('MatMul', [x, g.weight('w', real, [k, n])]);
  const square = g.op('MatMul', [product, g.input('v', real, [n, n])]);
  g.op('Mul', [square, 'scale'], {}, 'y');
  g.input('scale', real, [1]);
  g.output('y', real, [rows, n]);
  return encodeOnnx(g.build());
}

for (const real of ['float16', 'bfloat16'] as const) {
  test(`what passes between operators is rounded to ${real}, and nothing else`, async () => {
    const { rows, k, n } = sizes;
    const runtime = asDevice(testRuntime({ device: { kind: 'cpu' } }), { real });
    const rounded = (values: ArrayLike<number>) =>
      real === 'float16' ? new Float16Array(Array.from(values)) : toBfloat16(values);
    const floatsOf = (values: ReturnType<typeof rounded>) =>
      values instanceof Float16Array ? new Float32Array(values) : ofBfloat16(values);
    const random = (count: number, seed: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * seed));
    const x = random(rows * k, 1.3);
    const [w, v, scale] = [rounded(random(k * n, 2.1)), rounded(random(n * n, 0.7)), rounded([1 / 3])];
    const y = rounded(new Float32Array(rows * n));
    const session = await runtime.session(graphOf(real), { weights: new Map([['w', runtime.tensor(w, [k, n])]]) });
    const binding = session.bind();
    binding.input('x', runtime.tensor(x, [rows, k]));
    binding.input('v', runtime.tensor(v, [n, n]));
    binding.input('scale', runtime.tensor(scale, [1]));
    binding.output('y', runtime.tensor(y, [rows, n]));
    await session.run(binding);
    /** The product with each sum in float32, in order. */
    const times = (a: Float32Array, b: Float32Array, inner: number) =>
      floatsOf(
        rounded(
          Float32Array.from({ length: (a.length / inner) * n }, (_, i) => {
            const [row, column] = [Math.floor(i / n), i % n];
            let sum = 0;
            for (let j = 0; j < inner; j++) sum += a[row * inner + j]! * b[j * n + column]!;
            return sum;
          }),
        ),
      );
    const scaleOf = floatsOf(scale)[0]!;
    const first = times(floatsOf(rounded(x)), floatsOf(w), k);
    const expected = floatsOf(rounded(times(first, floatsOf(v), n).map((value) => value * scaleOf)));
    const equal = floatsOf(y).reduce((count, value, i) => count + Number(value === expected[i]), 0);
    // Sums in another order sometimes round to another neighbour.
    assert.ok(equal >= 0.9 * rows * n, `${equal} of ${rows * n}`);
  });
}
