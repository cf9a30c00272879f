// Adapters in 8 bits: the bound on a value's error, and that everything that reads an adapter in memory reads these.

import assert from 'node:assert/strict';
import test from 'node:test';

import { systemClock } from '../../../src/core/clock.ts';
import { prng } from '../../../src/core/prng.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { codedPart } from '../../../src/engine/adapters/coded-adapter.ts';
import { decodedRanks } from '../../../src/engine/adapters/coded-ranks.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import {
  createPart,
  type JoinedSizes,
  joinedSizes,
  layerOf,
  type ResidentAdapter,
} from '../../../src/engine/adapters/resident-adapter.ts';
import type { RowAdapter } from '../../../src/engine/adapters/row-adapter.ts';
import { createDecoder } from '../../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../../src/engine/runner/forward-batch.ts';
import { testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import { layerModules, randomAdapter } from './random-adapters.ts';

const breath = createBreath(systemClock);
const model = await tinyLowered('llama', 8);

test('a value is off by half a scale, and a rank of zeros stays one', async () => {
  const sizes: JoinedSizes = { linear: 'output', layers: 2, in: 23, modules: ['o_proj'], outs: [41], out: 41 };
  const random = prng(4);
  const whole = createPart(sizes, 0, 8);
  for (const matrix of [whole.a, whole.b]) {
    for (let i = 0; i < matrix.length; i++) matrix[i] = (random() - 0.5) / 2 ** (i % 20);
  }
  whole.b.fill(0, 3 * 41, 4 * 41);
  const coded = await codedPart(sizes, 0, whole, breath);
  for (const [matrix, width] of [
    ['a', 23],
    ['b', 41],
  ] as const) {
    const found = decodedRanks(coded[matrix], width);
    assert.equal(found.length, whole[matrix].length);
    for (let rank = 0; rank < found.length / width; rank++) {
      const own = whole[matrix].subarray(rank * width, (rank + 1) * width);
      const most = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      for (let i = 0; i < width; i++) {
        assert.ok(Math.abs(found[rank * width + i]! - own[i]!) <= (1.01 * most) / 254);
      }
    }
  }
  assert.ok(
    decodedRanks(coded.b, 41)
      .subarray(3 * 41, 4 * 41)
      .every((value) => value === 0),
  );
});

const adapterOf = (seed: number, r: number, bits: 8 | 16) =>
  readAdapter(randomAdapter(model.shape, { seed, modules: [...layerModules, 'lm_head'], r }).files, {
    model,
    breath,
    bits,
  });

/** The products of an adapter, linear by linear. */
const productsOf = (adapter: ResidentAdapter) =>
  joinedSizes(model.shape).flatMap((sizes) =>
    sizes.outs.flatMap((out, part) =>
      Array.from({ length: sizes.layers }, (_, layer) => {
        const { ranks, a, b } = layerOf(adapter.linears.get(sizes.linear)!, part, layer, sizes);
        const sum = new Float64Array(sizes.in * out);
        for (let rank = 0; rank < ranks; rank++) {
          for (let i = 0; i < sum.length; i++) {
            sum[i]! += a[rank * sizes.in + (i % sizes.in)]! * b[rank * out + Math.floor(i / sizes.in)]!;
          }
        }
        return sum;
      }),
    ),
  );

function assertNear(found: readonly Float64Array[], wanted: readonly Float64Array[], share: number): void {
  const most = Math.max(...wanted.map((values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)));
  for (const [i, values] of wanted.entries()) {
    for (const [j, value] of values.entries()) assert.ok(Math.abs(found[i]![j]! - value) <= share * most);
  }
}

test('an adapter, and several as one, take half the memory and add nearly the same', async () => {
  const [coded, whole] = [await adapterOf(1, 13, 8), await adapterOf(1, 13, 16)];
  assert.ok(coded.bytes < 0.6 * whole.bytes);
  assertNear(productsOf(coded), productsOf(whole), 0.02);
  const together = async (bits: 8 | 16) => {
    const adapters = [await adapterOf(1, 13, bits), await adapterOf(2, 4, bits)];
    return combineAdapters(
      'both',
      adapters.map((adapter, i) => ({ adapter, scale: i + 0.5 })),
      model.shape,
      breath,
    );
  };
  assertNear(productsOf(await together(8)), productsOf(await together(16)), 0.02);
});

const runtime = testRuntime();
const skip = runtime.device === null ? false : 'a device keeps 16 bits';

test('rows on pages of 8 bits come near those of 16, and pages refuse what is not theirs', { skip }, async () => {
  const logitsOf = async (bits: 8 | 16) => {
    const options = { rows: 2, positions: 32, pages: 8, adapterBits: bits, decodeActivations: 'int16' } as const;
    const decoder = createDecoder(runtime, model, options);
    const adapter = await adapterOf(5, 13, bits);
    await decoder.prepare(adapter);
    const placement = decoder.pages.place(adapter)!;
    await placement.copied;
    const row: RowAdapter = { adapter, placement, scale: 1 };
    const batch = { kind: 'prompt', first: 0, pasts: [0, 0], tokens: [3, 4, 5, 3, 4, 5], sampled: [2, 5] } as const;
    const logits = (await decoder.forward(evenBatch({ ...batch, adapters: [row, null] }))).slice();
    const other = decoder.pages.place(await adapterOf(6, 4, bits === 8 ? 16 : 8))!;
    await assert.rejects(other.copied, /an adapter of/);
    await decoder.release();
    return [logits.subarray(0, decoder.vocabulary), logits.subarray(decoder.vocabulary)] as const;
  };
  const [[coded, base], [whole, same]] = [await logitsOf(8), await logitsOf(16)];
  assert.deepEqual(base, same);
  const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((value, i) => value - b[i]!));
  assert.ok(distance(whole, same) > 0);
  assert.ok(distance(coded, whole) < 0.03 * distance(whole, same));
});
