// The packing of the native operators: rows are read as they were written, beside any others, and the packing of the
// runtime's own operators holds the same values.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../src/core/prng.ts';
import type { LinearForm, LoweredTensor } from '../../src/graph/lowered.ts';
import { operatorForm } from '../../src/graph/operator-form.ts';
import {
  type CodedRow,
  createCodedRow,
  fitsHalves,
  type PackedForm,
  packedBytes,
  packedRows,
  packedTensor,
} from '../../src/graph/packed.ts';
import { zeroOf } from '../../src/graph/quantized.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import { linearValues } from './linear-values.ts';

const forms = fc.record({
  bits: fc.constantFrom(4 as const, 8 as const),
  n: fc.integer({ min: 1, max: 40 }),
  k: fc.integer({ min: 1, max: 5 }).map((blocks) => 32 * blocks),
  corrected: fc.boolean(),
  halves: fc.boolean(),
});
const seeds = fc.integer({ min: 0, max: 2 ** 31 });

/** A row that the form holds exactly. */
function rowOf({ bits, k, corrected, halves }: PackedForm, random: () => number): CodedRow {
  const coded = createCodedRow(k);
  const nearest = halves ? Math.f16round : Math.fround;
  const shift = bits === 4 ? zeroOf(bits) : 0;
  for (let i = 0; i < k; i++) coded.codes[i] = Math.floor(random() * 2 ** bits);
  for (let block = 0; block < k / 32; block++) {
    coded.scales[block] = nearest(random() - 0.5);
    if (corrected) coded.minimums[block] = nearest(random() - 0.5) + shift * coded.scales[block]!;
  }
  return coded;
}

test('rows come out as they went in, in any order of writing', () => {
  fc.assert(
    fc.property(forms, seeds, (form, seed) => {
      const random = prng(seed);
      const rows = packedRows(form, new Uint8Array(packedBytes(form)));
      const written = Array.from({ length: form.n }, () => rowOf(form, random));
      for (const row of [...written.keys()].reverse()) rows.write(row, written[row]!);
      const found = createCodedRow(form.k);
      for (const [row, wanted] of written.entries()) {
        rows.read(row, found);
        assert.deepEqual(found, wanted);
        assert.ok(!form.halves || fitsHalves(form.bits, wanted.scales, form.corrected ? wanted.minimums : null));
      }
    }),
  );
});

test('half floats are refused where they would change a value', () => {
  const fits = (scale: number, minimum: number) =>
    fitsHalves(4, Float32Array.of(scale), Float64Array.of(minimum + 8 * scale));
  assert.ok(fits(0.125, -1));
  assert.ok(!fits(Math.fround(0.1), -1));
  assert.ok(!fits(0.125, -1.00001));
  assert.ok(fitsHalves(4, Float32Array.of(0.125), null));
  assert.ok(!fitsHalves(4, Float32Array.of(20_000), null), '8 scales are past the largest half float');
  assert.ok(fitsHalves(8, Float32Array.of(20_000), null));
});

test('the packing of the runtime’s own operators holds the same values', () => {
  fc.assert(
    fc.property(forms, seeds, (form, seed) => {
      const random = prng(seed);
      const data = new Uint8Array(packedBytes(form));
      const rows = packedRows(form, data);
      for (let row = 0; row < form.n; row++) rows.write(row, rowOf(form, random));
      const linears = new Map<string, LinearForm>([['x', { ...form, bias: false }]]);
      const model = { shape: {} as never, linears, weights: new Map([['x.packed', packedTensor(data)]]) };
      const values = linearValues(model, 'x');
      const { weights } = operatorForm(model);
      const part = (name: string) => weights.get(`x.${name}`)?.data;
      const [blocks, scales, minimums] = [part('blocks')!, part('scales')!, part('minimums')];
      const { bits, n, k } = form;
      for (let i = 0; i < values.length; i++) {
        const [row, block] = [Math.floor(i / k), Math.floor((i % k) / 32)];
        const code = bits === 8 ? blocks[i]! : (blocks[i >> 1]! >> (4 * (i & 1))) & 15;
        const value = scales[i >> 5]! * (code - zeroOf(bits)) + (minimums?.[block * n + row] ?? 0);
        // The minimum was rounded once more, together with up to 128 scales.
        const size = 1 + 256 * Math.abs(scales[i >> 5]!);
        assert.ok(Math.abs(value - values[i]!) <= 1e-6 * size, `${value} is not ${values[i]}`);
      }
    }),
  );
});

test('models that share packed weights share the runtime’s form of them', async () => {
  const model = await tinyLowered('llama-gguf', null);
  const weights = new Map<string, LoweredTensor>(model.weights);
  const head = weights.get('head.packed')!;
  weights.set('head.packed', { ...head });
  const [one, other] = [operatorForm(model), operatorForm({ ...model, weights })];
  for (const [name, tensor] of one.weights) {
    assert.equal(other.weights.get(name) === tensor, !name.startsWith('head.'), name);
  }
});
