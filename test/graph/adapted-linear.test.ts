// Adapters beside a linear, in the real runtime, against plain loops: both forms, gains, any ranks, nothing at all.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import {
  type AdaptersInGraph,
  adapterNames,
  addGain,
  type JoinedLinear,
  joinedLinears,
  type Reach,
  reaches,
  reachOf,
} from '../../src/graph/adapted-linear.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { hostAdapters } from '../../src/graph/host-adapters.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import type { TensorData } from '../../src/runtime/session.ts';

const runtime = createOnnxRuntime({ library: null, threads: 1, spin: false });
const random = prng(12);
const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5);

const inputs = 6;
/** As many parts as the linear has, of different widths. */
const outsOf = (linear: JoinedLinear) => joinedLinears[linear].map((_, i) => 4 + i);
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

type Inputs = Map<string, readonly [TensorData, readonly number[]]>;

/** y [R, out] of x and base through a graph of the one linear. */
async function run(
  adapters: Extract<AdaptersInGraph, { reach: Reach }>,
  linear: JoinedLinear,
  rows: number,
  given: Inputs,
): Promise<Float32Array> {
  const g = createGraphBuilder();
  const outs = outsOf(linear);
  const target = { layer: 3, linear, in: inputs, outs };
  hostAdapters.addInputs(g, adapters);
  const x = g.input('x', 'float32', ['R', inputs]);
  let base = g.input('base', 'float32', ['R', sum(outs)]);
  if (reaches[adapters.reach].gains) base = addGain(g, target, base);
  hostAdapters.add(g, adapters.form, target, { x, base }, 'y');
  g.output('y', 'float32', ['R', sum(outs)]);
  const session = await runtime.session(encodeOnnx(g.build()), { weights: new Map() });
  const binding = session.bind();
  const y = new Float32Array(rows * sum(outs));
  const tensors = [...given].map(([name, [data, shape]]) => {
    const tensor = runtime.tensor(data, shape);
    binding.input(name, tensor);
    return tensor;
  });
  const output = runtime.tensor(y, [rows, sum(outs)]);
  binding.output('y', output);
  await session.run(binding);
  for (const tensor of [...tensors, output]) tensor.release();
  binding.release();
  session.release();
  return y;
}

/** What ranks [first, first + count) of a part add to a row: share * (x aᵀ) b, into `y` from column `at` on. */
function addTo(y: Float32Array, at: number, x: Float32Array, a: Float32Array, b: Float32Array, share: number): void {
  const ranks = a.length / inputs;
  const out = b.length / Math.max(1, ranks);
  for (let rank = 0; rank < ranks; rank++) {
    let inner = 0;
    for (let i = 0; i < inputs; i++) inner += x[i]! * a[rank * inputs + i]!;
    for (let o = 0; o < out; o++) y[at + o]! += share * inner * b[rank * out + o]!;
  }
}

function assertNear(found: Float32Array, expected: Float32Array): void {
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(found[i]! - value) < 1e-5, `${i}: ${found[i]}, ${value}`);
}

/** Inputs that the form lists for all linears, for those that are not under test. */
function restOf(reach: Reach, tested: JoinedLinear, rows: number): Inputs {
  const rest: Inputs = new Map();
  for (const linear of reaches[reach].linears) {
    if (linear === tested) continue;
    rest.set(adapterNames.rows(linear), [new BigInt64Array(0), [0, 1, 1]]);
    rest.set(adapterNames.own(linear), [new BigInt64Array(0), [0]]);
    rest.set(adapterNames.shares(linear), [new Float32Array(0), [rows, 0]]);
  }
  return rest;
}

for (const linear of reaches.all.linears) {
  for (const reach of ['attention', 'layers', 'all'] as const) {
    const { linears, gains }: { linears: readonly JoinedLinear[]; gains: boolean } = reaches[reach];
    if (!linears.includes(linear)) continue;
    const outs = outsOf(linear);
    const width = sum(outs);
    const firstOf = (part: number) => sum(outs.slice(0, part));

    test(`one adapter, ${linear}${gains ? ' with gains' : ` in ${reach}`}: parts of any ranks, none too`, async () => {
      for (const ranks of [
        [8, 0, 3],
        [0, 16, 1],
        [5, 5, 5],
        [0, 0, 0],
      ]) {
        for (const rows of [1, 4]) {
          const [x, base, gain, scale] = [floats(rows * inputs), floats(rows * width), floats(width), 0.5];
          const given: Inputs = new Map([
            ['x', [x, [rows, inputs]]],
            ['base', [base, [rows, width]]],
            [adapterNames.scale, [Float32Array.of(scale), [1]]],
          ]);
          if (gains) given.set(adapterNames.gain(3, linear), [gain, [1, width]]);
          const expected = base.map((value, i) => (gains ? value * gain[i % width]! : value));
          for (const [part, module] of joinedLinears[linear].entries()) {
            const [r, out] = [ranks[part]!, outs[part]!];
            const [a, b] = [floats(r * inputs), floats(r * out)];
            given.set(adapterNames.a(3, module), [a, [1, r, inputs]]);
            given.set(adapterNames.b(3, module), [b, [r, out]]);
            for (let row = 0; row < rows; row++) {
              addTo(expected, row * width + firstOf(part), x.subarray(row * inputs, (row + 1) * inputs), a, b, scale);
            }
          }
          assertNear(await run({ form: 'one', reach }, linear, rows, given), expected);
        }
      }
    });

    test(`rows by pages, ${linear}${gains ? ' with gains' : ` in ${reach}`}: any number, none too`, async () => {
      for (const { pages, ranks, served, rows } of [
        { pages: 3, ranks: 8, served: 2, rows: 5 },
        { pages: 1, ranks: 64, served: 1, rows: 1 },
        { pages: 5, ranks: 16, served: 4, rows: 4 },
        { pages: 0, ranks: 8, served: 1, rows: 3 },
      ]) {
        const [x, base, gain] = [floats(rows * inputs), floats(rows * width), floats(rows * width)];
        const places = pages * served;
        const readers = Array.from({ length: places }, () => Math.floor(random() * rows));
        // Neither distinct nor one-hot: the graph must not care.
        const own = Array.from({ length: places === 0 ? 0 : 2 * rows }, () => Math.floor(random() * places));
        const shares = floats(rows * own.length).map((share) => (random() < 0.5 ? 0 : share));
        const given: Inputs = new Map([
          ...restOf(reach, linear, rows),
          ['x', [x, [rows, inputs]]],
          ['base', [base, [rows, width]]],
          [adapterNames.rows(linear), [BigInt64Array.from(readers, BigInt), [pages, served, 1]]],
          [adapterNames.own(linear), [BigInt64Array.from(own, BigInt), [own.length]]],
          [adapterNames.shares(linear), [shares, [rows, own.length]]],
        ]);
        if (gains) given.set(adapterNames.gain(3, linear), [gain, [rows, width]]);
        const expected = base.map((value, i) => (gains ? value * gain[i]! : value));
        for (const [part, module] of joinedLinears[linear].entries()) {
          const out = outs[part]!;
          const [a, b] = [floats(pages * ranks * inputs), floats(pages * ranks * out)];
          given.set(adapterNames.a(3, module), [a, [pages, 1, ranks, inputs]]);
          given.set(adapterNames.b(3, module), [b, [pages, 1, ranks, out]]);
          for (const [i, product] of own.entries()) {
            const reader = readers[product]!;
            const start = Math.floor(product / served) * ranks;
            const pageA = a.subarray(start * inputs, (start + ranks) * inputs);
            const pageB = b.subarray(start * out, (start + ranks) * out);
            const read = x.subarray(reader * inputs, (reader + 1) * inputs);
            for (let row = 0; row < rows; row++) {
              addTo(expected, row * width + firstOf(part), read, pageA, pageB, shares[row * own.length + i]!);
            }
          }
        }
        assertNear(await run({ form: 'mixed', reach }, linear, rows, given), expected);
      }
    });
  }
}

test('the narrowest reach that covers', () => {
  assert.equal(reachOf([], false), 'attention');
  assert.equal(reachOf(['qkv'], false), 'attention');
  assert.equal(reachOf(['qkv', 'down'], false), 'layers');
  assert.equal(reachOf(['head'], false), 'all');
  assert.equal(reachOf(['qkv'], true), 'all');
});
