// The decompositions by what they promise, on matrices whose answers are known, and against numpy on real adapters.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../src/core/prng.ts';
import { pairValues } from '../../src/formats/adapter-values.ts';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { figuresOf } from '../../src/offline/analyse-adapter.ts';
import { deltaSvd } from '../../src/offline/delta-svd.ts';
import { jacobiSvd } from '../../src/offline/jacobi-svd.ts';
import { normAlong } from '../../src/offline/norm-along.ts';
import { subspaceSimilarity } from '../../src/offline/subspace-similarity.ts';
import { type Columns, dot, thinQr } from '../../src/offline/thin-qr.ts';

/** A matrix of ordinary numbers with some zeros and repeated columns, which is where these methods go wrong. */
const matrix = (rows: number, columns: number, seed: number): Columns => {
  const random = prng(seed);
  const made: Float64Array[] = [];
  for (let at = 0; at < columns; at++) {
    const copied = at > 0 && random() < 0.2 ? made[Math.floor(random() * at)]! : null;
    const size = 10 ** (8 * random() - 4);
    made.push(copied ?? Float64Array.from({ length: rows }, () => (random() < 0.1 ? 0 : size * (random() - 0.5))));
  }
  return made;
};
const sizes = fc.tuple(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 24 }), fc.nat());

const norm = (columns: Columns) => Math.sqrt(columns.reduce((sum, column) => sum + dot(column, column), 0));

/** X Y, both as columns. */
const product = (x: Columns, y: Columns): Columns =>
  y.map((weights) => x[0]!.map((_, row) => x.reduce((sum, column, at) => sum + column[row]! * weights[at]!, 0)));

const transposed = (columns: Columns): Columns =>
  Array.from(columns[0]!, (_, row) => Float64Array.from(columns, (column) => column[row]!));

function assertOrthonormal(columns: Columns): void {
  for (const [i, a] of columns.entries()) {
    for (const [j, b] of columns.entries()) {
      const expected = i === j ? 1 : 0;
      assert.ok(Math.abs(dot(a, b) - expected) < 1e-12, `${i}, ${j}: ${dot(a, b)}`);
    }
  }
}

function assertNear(found: Columns, expected: Columns, scale = norm(expected)): void {
  const difference = found.map((column, at) => column.map((value, row) => value - expected[at]![row]!));
  assert.ok(norm(difference) <= 1e-12 * scale, `${norm(difference)} of ${scale}`);
}

test('Q is orthonormal, R triangular, and Q R the matrix', () => {
  fc.assert(
    fc.property(sizes, ([rows, columns, seed]) => {
      const a = matrix(rows, columns, seed);
      const { q, r } = thinQr(a);
      assertOrthonormal(q);
      for (const [at, column] of r.entries()) assert.ok(column.subarray(at + 1).every((value) => value === 0));
      assertNear(product(q, r), a);
    }),
  );
});

test('U and V are orthonormal, s descends, and U diag(s) Vᵀ is the matrix', () => {
  fc.assert(
    fc.property(sizes, ([a, b, seed]) => {
      const m = matrix(Math.max(a, b), Math.min(a, b), seed);
      const { u, s, v } = jacobiSvd(m);
      assertOrthonormal(v);
      assert.ok(s.every((value, at) => at === 0 || value <= s[at - 1]!));
      const sure = s.filter((value) => value > 1e-10 * s[0]!).length;
      assertOrthonormal(u.slice(0, sure));
      const scaled = u.map((column, at) => column.map((value) => value * s[at]!));
      assertNear(product(scaled, transposed(v)), m);
    }),
  );
});

/** A pair whose ΔW has these singular values, along chosen axes. */
function constructed(values: readonly number[], { r = values.length, scaling = 1, out = 9, inputs = 7 } = {}) {
  const a = new Float32Array(r * inputs);
  const b = new Float32Array(out * r);
  for (const [rank, value] of values.entries()) {
    a[rank * inputs + ((rank + 2) % inputs)] = 1;
    b[rank * r + rank] = value / scaling;
  }
  return { r, scaling, a, b };
}

test('a product with known singular values has these, whatever the rank it is written in', () => {
  for (const options of [{}, { r: 5 }, { r: 12 }, { scaling: -0.5 }, { out: 3, inputs: 40 }]) {
    const { u, s, v } = deltaSvd(constructed([8, 4, 2], options));
    assert.deepEqual(
      [...s].map((value) => Math.round(value * 1e12) / 1e12),
      [8, 4, 2],
    );
    assert.deepEqual(
      u.map((column) => Math.round(Math.abs(column[u.indexOf(column)]!))),
      [1, 1, 1],
    );
    assertOrthonormal(v);
  }
});

test('an adapter that adds nothing has no directions', () => {
  for (const pair of [constructed([0, 0]), { ...constructed([1, 2]), scaling: 0 }]) {
    const { u, s } = deltaSvd(pair);
    assert.deepEqual([u.length, s.length], [0, 0]);
    const figures = { singularValues: [], frobeniusNorm: 0, effectiveRank: 0, stableRank: 0 };
    assert.deepEqual(figuresOf(s), figures);
  }
});

test('effective and stable rank count equal directions', () => {
  for (const count of [1, 2, 7]) {
    const { effectiveRank, stableRank } = figuresOf(new Float64Array(count).fill(3));
    assert.ok(Math.abs(effectiveRank - count) < 1e-12);
    assert.ok(Math.abs(stableRank - count) < 1e-12);
  }
});

test('similarity is 1 of a space with itself, 0 of orthogonal ones, and symmetric', () => {
  const axes = (...at: number[]) => at.map((one) => new Float64Array(8).fill(1, one, one + 1));
  const own = subspaceSimilarity(axes(0, 1, 2), axes(2, 1, 0));
  assert.deepEqual(own, {
    own: [1, 2, 3],
    other: [1, 2, 3],
    phi: [
      [0, 0, 1],
      [0, 0.5, 1],
      [1, 1, 1],
    ],
  });
  assert.deepEqual(subspaceSimilarity(axes(0, 1), axes(2, 3, 4, 5)).phi, [
    [0, 0, 0],
    [0, 0, 0],
  ]);
  fc.assert(
    fc.property(sizes, ([a, b, seed]) => {
      const [x, y] = [thinQr(matrix(24, a, seed)).q, thinQr(matrix(24, b, seed + 1)).q];
      const [there, back] = [subspaceSimilarity(x, y).phi, subspaceSimilarity(y, x).phi];
      for (const [i, row] of there.entries()) {
        for (const [j, phi] of row.entries()) assert.ok(phi >= 0 && Math.abs(phi - back[j]![i]!) < 1e-12);
      }
    }),
  );
});

test('the norm of W along directions is that of the whole product', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(), (size, seed) => {
      const [out, inputs] = [13, 11];
      const values = Float32Array.from({ length: out * inputs }, prng(seed));
      const bytes = () => new Uint8Array(values.buffer);
      const weight = { name: 'w', type: 'F32', shape: [out, inputs], bytes } as const;
      const { q: u } = thinQr(matrix(out, size, seed + 1));
      const { q: v } = thinQr(matrix(inputs, size, seed + 2));
      const w = Array.from({ length: inputs }, (_, i) =>
        Float64Array.from({ length: out }, (_, n) => values[n * inputs + i]!),
      );
      const whole = norm(product(transposed(u), product(w, v)));
      assert.ok(Math.abs(normAlong(weight, u, v) - whole) <= 1e-12 * whole);
    }),
  );
  // All of a space: nothing of W is left out.
  const axes = (count: number) => Array.from({ length: count }, (_, at) => new Float64Array(count).fill(1, at, at + 1));
  const values = Float32Array.of(3, 0, 0, 4);
  const weight = { name: 'w', type: 'F32', shape: [2, 2], bytes: () => new Uint8Array(values.buffer) } as const;
  assert.equal(normAlong(weight, axes(2), axes(2)), 5);
});

type NumpyCase = {
  readonly adapter: string;
  readonly against: string;
  readonly module: string;
  readonly scaling: number;
  readonly singularValues: number[];
  readonly input: number[][];
  readonly output: number[][];
};

const numpy: NumpyCase[] = JSON.parse(
  readFileSync(new URL('../fixtures/singular-values.json', import.meta.url), 'utf8'),
);

function pairOf(adapter: string, module: string, scaling: number) {
  const file = readFileSync(new URL(`../../adapters/${adapter}/adapter_model.safetensors`, import.meta.url));
  const { tensors } = parseSafetensorsHeader(file, file.length)!;
  const values = (part: string) => {
    const tensor = tensors.find(({ name }) => name === `base_model.model.${module}.lora_${part}.weight`)!;
    return pairValues(tensor, file.subarray(tensor.offset, tensor.offset + tensor.bytes));
  };
  const a = values('A');
  const r = tensors.find(({ name }) => name === `base_model.model.${module}.lora_A.weight`)!.shape[0]!;
  return { r, scaling, a, b: values('B') };
}

test('numpy says the same of the dense ΔW of the example adapters', (t) => {
  let largest = 0;
  for (const { adapter, against, module, scaling, singularValues, input, output } of numpy) {
    const own = deltaSvd(pairOf(adapter, module, scaling));
    const other = deltaSvd(pairOf(against, module, 1));
    const phis = [subspaceSimilarity(own.v, other.v).phi, subspaceSimilarity(own.u, other.u).phi];
    assert.equal(own.s.length, singularValues.length);
    const differences = [
      ...singularValues.map((value, at) => Math.abs(own.s[at]! - value) / singularValues[0]!),
      ...[input, output].flatMap((grid, side) => grid.flat().map((phi, at) => Math.abs(phis[side]!.flat()[at]! - phi))),
    ];
    largest = Math.max(largest, ...differences);
  }
  t.diagnostic(`${numpy.length} linears; the largest difference is ${largest.toExponential(1)}`);
  assert.ok(numpy.length >= 12 && largest < 1e-9);
});
