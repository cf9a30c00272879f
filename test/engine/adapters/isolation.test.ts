// Rows of a mixed batch share products, in which a row takes zero times the pages that it does not read: whatever an
// adapter does to its own row, the other rows must not change.

import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../../src/core/limits.ts';
import {
  createLinear,
  createPart,
  createResident,
  joinedSizes,
  type ResidentAdapter,
} from '../../../src/engine/adapters/resident-adapter.ts';
import type { RowAdapter } from '../../../src/engine/adapters/row-adapter.ts';
import { createDecoder } from '../../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../../src/engine/runner/forward-batch.ts';
import { testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';

const runtime = testRuntime();

for (const [bits, decodeActivations] of [
  [32, 'int16'],
  [8, 'int8'],
] as const) {
  test(`an adapter as violent as an upload may be leaves other rows their logits: ${bits} bits`, async () => {
    const model = await tinyLowered('llama', bits);
    const decoder = createDecoder(runtime, model, { rows: 3, positions: 64, pages: 8, decodeActivations });
    await decoder.prepare(null);
    const sizes = joinedSizes(model.shape).filter(({ linear }) => linear !== 'head');
    /** Adds `growth` times the sum of the inputs to every output. */
    const adapterOf = (growth: number): ResidentAdapter => {
      const linears = sizes.map((size) => {
        const parts = size.outs.map((out, i) => {
          const part = createPart(size, i, 8);
          part.a.fill(1);
          for (let layer = 0; layer < size.layers; layer++) {
            part.b.fill(growth / size.in, layer * 8 * out, (layer * 8 + 1) * out);
          }
          return part;
        });
        return [size.linear, createLinear(parts, 1, null)] as const;
      });
      return createResident(`growth ${growth}`, new Map(linears));
    };
    const all = [limits.adapterGrowth, 0.01, 0.02].map((growth) => {
      const adapter = adapterOf(growth);
      return { adapter, scale: 2, placement: decoder.pages.place(adapter)! };
    });
    const [violent, gentle, another] = all;
    for (const { placement } of all) await placement.copied;
    const tokens = [5, 6, 7, 8];
    const prefill = async (row: number, adapter: RowAdapter | null) =>
      decoder.forward(
        evenBatch({
          ...{ kind: 'prompt', first: row, pasts: [0], tokens, sampled: [3] },
          adapters: [adapter],
        }),
      );
    const step = async (rows: readonly (RowAdapter | null)[]) => {
      for (const [row, adapter] of rows.entries()) await prefill(row, adapter);
      const batch = { pasts: rows.map(() => 4), tokens: rows.map(() => 9), sampled: rows.map((_, row) => row) };
      return (await decoder.forward(evenBatch({ kind: 'answer', first: 0, ...batch, adapters: rows }))).slice();
    };
    const beside = await step([null, gentle!, violent!]);
    const without = await step([null, gentle!, another!]);
    const two = 2 * decoder.vocabulary;
    assert.deepEqual(beside.subarray(0, two), without.subarray(0, two));
    assert.ok(beside.subarray(0, two).every(Number.isFinite));
    assert.ok(beside.subarray(two).every(Number.isFinite), 'the violent row itself overflowed');
    for (const { placement } of all) decoder.pages.release(placement);
    await decoder.release();
  });
}
