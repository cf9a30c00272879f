// What is sent of an adapter to a card: its half floats as they are in memory, two bytes for each value, to its own
// pages; and the shares in their tables.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../../src/core/clock.ts';
import { pageRanks } from '../../../src/core/page-sizes.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { DevicePages } from '../../../src/engine/adapters/device-pages.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import { joinedSizes, type ResidentAdapter } from '../../../src/engine/adapters/resident-adapter.ts';
import { createRowSessions } from '../../../src/engine/kv/row-sessions.ts';
import type { Memory, Runtime } from '../../../src/runtime/session.ts';
import { testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import { everyModule, randomAdapter } from '../adapters/random-adapters.ts';

const slots = 24;

/** Keeps a card's memory in arrays, which receive what is sent. */
function pretendedCard() {
  const arrays = new Map<Memory, Uint16Array>();
  let bytes = 0;
  const runtime: Runtime = {
    ...testRuntime({ device: { kind: 'cpu' } }),
    allocate(type, elements) {
      assert.equal(type, 'float16');
      const memory = { type, elements, view: () => ({ shape: [], release: () => {} }), release: () => {} };
      arrays.set(memory, new Uint16Array(elements).fill(0x7fff));
      return memory;
    },
    async send(places, data) {
      const bits = new Uint16Array(data.buffer, data.byteOffset, data.length);
      const each = bits.length / places.length;
      bytes += bits.byteLength;
      for (const [i, { memory, start }] of places.entries()) {
        arrays.get(memory)!.set(bits.subarray(i * each, (i + 1) * each), start);
      }
    },
  };
  return { runtime, arrays: () => [...arrays.values()], sent: () => bytes };
}

/**
 * Rank 5 leaves zeros in its page, DoRA has gains besides, and an adapter that leaves k and v alone sends zeros for
 * those.
 */
for (const plan of [
  { seed: 1, modules: everyModule, r: 16 },
  { seed: 2, modules: everyModule, r: 5, dora: true },
  { seed: 3, modules: ['q_proj', 'down_proj'], r: 12 },
] as const) {
  test(`two bytes a value: rank ${plan.r} on ${plan.modules.length} linears`, async () => {
    const model = await tinyLowered('llama-gguf', 32);
    const { files } = randomAdapter(model.shape, plan);
    const adapter: ResidentAdapter = await readAdapter(files, { model, breath: createBreath(systemClock) });
    const card = pretendedCard();
    const form = { slots, real: 'float16', ready: Promise.resolve(), isListed: false } as const;
    const pages = new DevicePages(card.runtime, createRowSessions(card.runtime, 'float16'), model.shape, form);
    const first = 3;
    let [counted, values, at] = [0, 0, 0];
    const arrays = card.arrays();
    for (const sizes of joinedSizes(model.shape)) {
      const { linear, layers, in: inputs, outs } = sizes;
      const mine = arrays.slice(at, at + 2 * layers * outs.length);
      at += mine.length;
      const resident = adapter.linears.get(linear);
      if (!resident) continue;
      counted += await pages.fill(linear, { first, pages: resident.pages }, resident);
      for (const [part, { ranks, a, b }] of resident.parts.entries()) {
        for (const [matrices, width, from] of [
          [a, inputs, part * layers],
          [b, outs[part]!, (outs.length + part) * layers],
        ] as const) {
          values += layers * resident.pages * pageRanks * width;
          const bits = new Uint16Array(matrices.buffer, matrices.byteOffset, matrices.length);
          for (let layer = 0; layer < layers; layer++) {
            const pool = mine[from + layer]!;
            const start: number = first * pageRanks * width;
            const end: number = start + resident.pages * pageRanks * width;
            const expected = new Uint16Array(end - start);
            expected.set(bits.subarray(layer * ranks * width, (layer + 1) * ranks * width));
            assert.deepEqual(pool.subarray(start, end), expected, `${linear}, part ${part}, layer ${layer}`);
            const isUntouched = (value: number) => value === 0x7fff;
            assert.ok(pool.subarray(0, start).every(isUntouched) && pool.subarray(end).every(isUntouched));
          }
        }
      }
    }
    assert.equal(card.sent(), 2 * values);
    assert.equal(counted, card.sent());
  });
}
