// The rounding's guarantees for any row: no weight off by more than a step, sums kept to half a step, and the base's
// values where nothing is added.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../../src/core/prng.ts';
import { type Rounding, roundRow } from '../../../src/engine/merges/round-row.ts';
import { type CodedRow, createCodedRow } from '../../../src/graph/packed.ts';
import { zeroOf } from '../../../src/graph/quantized.ts';

const blocks = 4;
const k = 32 * blocks;

const valuesOf = ({ codes, scales, minimums }: CodedRow, { bits }: Rounding): Float64Array =>
  Float64Array.from(codes, (code, i) => scales[i >> 5]! * (code - zeroOf(bits)) + minimums[i >> 5]!);

/** A row on a grid of its own, as in a base: scales of either sign, and zero. */
function gridRow(seed: number, { bits, corrected, halves }: Rounding): CodedRow {
  const random = prng(seed);
  const nearest = halves ? Math.f16round : Math.fround;
  const shift = bits === 4 ? 8 : 0;
  const coded = createCodedRow(k);
  for (let block = 0; block < blocks; block++) {
    const scale = nearest(random() < 0.1 ? 0 : (random() - 0.3) * 10 ** (3 * random() - 3));
    coded.scales[block] = scale;
    if (corrected) coded.minimums[block] = nearest(random() - 0.5 - shift * scale) + shift * scale;
  }
  for (let i = 0; i < k; i++) coded.codes[i] = Math.floor(random() * 2 * zeroOf(bits));
  return coded;
}

const roundings = fc.record({
  bits: fc.constantFrom(4 as const, 8 as const),
  corrected: fc.boolean(),
  halves: fc.boolean(),
  keepsGrid: fc.boolean(),
});
const seeds = fc.integer({ min: 0, max: 2 ** 31 });
/** Sizes of what is added, in steps of the block: from next to nothing to far beyond the grid. */
const sizes = fc.constantFrom(0.001, 0.05, 0.4, 3, 100);

test('no weight ends farther than a step from what it should be, and codes stay codes', () => {
  fc.assert(
    fc.property(roundings, seeds, sizes, (rounding, seed, size) => {
      const coded = gridRow(seed, rounding);
      const random = prng(seed + 1);
      const wanted = Float32Array.from(valuesOf(coded, rounding), (value, i) => {
        return value + (random() - 0.5) * size * Math.abs(coded.scales[i >> 5]! || 0.01);
      });
      roundRow(wanted, coded, rounding);
      for (const [i, value] of valuesOf(coded, rounding).entries()) {
        const rounded = 1e-5 * (Math.abs(wanted[i]!) + Math.abs(coded.minimums[i >> 5]!) + 1e-3);
        assert.ok(Math.abs(value - wanted[i]!) <= Math.abs(coded.scales[i >> 5]!) * 1.001 + rounded);
      }
      assert.ok(coded.codes.every((code) => code < 2 * zeroOf(rounding.bits)));
    }),
  );
});

test('what is added arrives in the sum of every stretch, however small it is', () => {
  const rounding = { bits: 4, corrected: true, halves: false, keepsGrid: true } as const;
  fc.assert(
    fc.property(seeds, fc.constantFrom(0.01, 0.05, 0.2), (seed, size) => {
      const coded = createCodedRow(k);
      const random = prng(seed);
      coded.scales.fill(0.03);
      coded.minimums.fill(0.01);
      // Away from the ends, where a code cannot move further.
      for (let i = 0; i < k; i++) coded.codes[i] = 2 + Math.floor(random() * 12);
      const base = valuesOf(coded, rounding);
      const wanted = Float32Array.from(base, (value) => value + 2 * random() * size * 0.03);
      roundRow(wanted, coded, rounding);
      const found = valuesOf(coded, rounding);
      let lack = 0;
      for (let i = 0; i < k; i++) {
        lack += wanted[i]! - found[i]!;
        assert.ok(Math.abs(lack) <= 0.0151, `${lack} after ${i}`);
      }
      // Rounding to the nearest code would lose all of it: no weight is half a step away.
      assert.notDeepEqual(found, base);
    }),
  );
});

test('nothing added changes no code', () => {
  fc.assert(
    fc.property(roundings, seeds, (rounding, seed) => {
      const coded = gridRow(seed, rounding);
      // In a block that is finer still, the rounding of its neighbour's floats would be a step.
      const finest = 1e-3 * Math.max(...coded.scales.map(Math.abs));
      for (const [block, scale] of coded.scales.entries()) if (Math.abs(scale) < finest) coded.scales[block] = 0;
      const scales = coded.scales.slice();
      const [codes, values] = [coded.codes.slice(), Float32Array.from(valuesOf(coded, rounding))];
      roundRow(values, coded, { ...rounding, keepsGrid: true });
      for (const [i, code] of coded.codes.entries()) if (scales[i >> 5] !== 0) assert.equal(code, codes[i]);
    }),
  );
});

test('a row of zeros, and blocks of one value, are exact', () => {
  for (const bits of [4, 8] as const) {
    for (const corrected of [true, false]) {
      const rounding = { bits, corrected, halves: false, keepsGrid: false };
      const coded = createCodedRow(k);
      roundRow(new Float32Array(k), coded, rounding);
      assert.ok(valuesOf(coded, rounding).every((value) => value === 0));
      if (!corrected) continue;
      roundRow(new Float32Array(k).fill(-0.25), coded, rounding);
      assert.ok(valuesOf(coded, rounding).every((value) => value === -0.25));
    }
  }
});
