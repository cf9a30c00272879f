// What 16 bits keep of an adapter's pair: the stated error, whatever the sizes of A and B.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../../src/core/prng.ts';
import { balancedShare, mantissaOf, writeBalanced } from '../../../src/engine/adapters/half-pair.ts';
import { createLinear, createPart, type JoinedSizes, layerOf } from '../../../src/engine/adapters/resident-adapter.ts';

const sizes: JoinedSizes = { linear: 'output', layers: 2, in: 24, modules: ['o_proj'], outs: [40], out: 40 };
const random = prng(3);
const floats = (length: number, scale: number) => Float32Array.from({ length }, () => (random() - 0.5) * scale);
const largestOf = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

for (const [a, b] of [
  [1, 1],
  [0.02, 1e-4],
  [4e37, 1e-38],
  [1e-38, 4e37],
  [1e-30, 1e-8],
  [1e3, 1e2],
] as const) {
  test(`values up to ${a} and ${b}: products are off by a thousandth of the largest, or by 2^-26 of its root`, () => {
    const r = 5;
    const pair = { a: floats(r * sizes.in, a), b: floats(r * sizes.out, b) };
    const part = createPart(sizes, 0, 8);
    assert.ok(writeBalanced(part, sizes, 1, pair));
    assert.ok(part.a.every(Number.isFinite) && part.b.every(Number.isFinite));
    const found = layerOf(createLinear([part], balancedShare, null), 0, 1, sizes);
    for (let rank = 0; rank < r; rank++) {
      const [rowA, rowB] = [pair.a.subarray(rank * sizes.in, (rank + 1) * sizes.in), pair.b.subarray(rank * sizes.out)];
      const most = largestOf(rowA) * largestOf(rowB.subarray(0, sizes.out));
      // Values of either side, at most 2^5 * sqrt(most), are off by 2^-25; a share of 2^-8 multiplies their product.
      const lost = 2 ** -8 * (2 * 2 ** 5 * Math.sqrt(most) * 2 ** -25 + 2 ** -50);
      for (let i = 0; i < sizes.in; i++) {
        for (let o = 0; o < sizes.out; o++) {
          const product = found.a[rank * sizes.in + i]! * found.b[rank * sizes.out + o]!;
          assert.ok(Math.abs(product - rowA[i]! * rowB[o]!) <= most / 1000 + lost);
        }
      }
    }
  });
}

test('bfloat16 values, and powers of two in the scaling, are kept exactly', () => {
  const bfloat = (value: number) => new Float32Array(Uint32Array.of(bitsOf(value) & 0xffff0000).buffer)[0]!;
  const pair = { a: floats(2 * sizes.in, 0.05).map(bfloat), b: floats(2 * sizes.out, 0.01).map(bfloat) };
  const part = createPart(sizes, 0, 8);
  assert.ok(writeBalanced(part, sizes, 0, pair));
  const found = layerOf(createLinear([part], balancedShare, null), 0, 0, sizes);
  for (let i = 0; i < sizes.in; i++) {
    const factor = found.a[i]! / pair.a[i]!;
    assert.equal(2 ** Math.round(Math.log2(factor)), factor);
    assert.equal(found.b[0]! * found.a[i]!, Math.fround(pair.b[0]! * pair.a[i]!));
  }
  assert.deepEqual(
    [mantissaOf(2), mantissaOf(0.25), mantissaOf(3), mantissaOf(-0.75), mantissaOf(0)],
    [1, 1, 1.5, -1.5, 1],
  );
});

const bitsOf = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!;

test('products beyond what half floats reach are refused', () => {
  const pair = { a: floats(sizes.in, 1e25), b: floats(sizes.out, 1e25) };
  assert.ok(!writeBalanced(createPart(sizes, 0, 8), sizes, 0, pair));
});
