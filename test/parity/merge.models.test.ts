// Merged weights of the real model against the adapter beside the base, by prompts of every case and what PEFT writes
// after them: trained adapters, random ones, DoRA, lm_head, several at once. The bounds are what each width costs;
// docs/log.md says why 4 bits cost so much more than 8.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import type { ResidentAdapter } from '../../src/engine/adapters/resident-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import { createComparison } from '../../src/engine/merges/compare.ts';
import { mergeModel } from '../../src/engine/merges/merge-model.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import type { LinearBits, LoweredModel } from '../../src/graph/lowered.ts';
import { loadWeights } from '../../src/graph/weights.ts';
import type { MergeQuality } from '../../src/protocol/messages.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { type AdapterCase, readAdapterCases, writtenAdapter } from './adapters.ts';

const runtime = createOnnxRuntime({ library: null, threads: null, spin: false });
const breath = createBreath(systemClock);
const folder = mkdtempSync(join(tmpdir(), 'lorikeet-merge-parity-'));
let model: LoweredModel;
let base: Decoder;

before(async () => {
  ({ model } = await loadWeights(await realModelFiles(), null, folder, assert.fail));
  base = createDecoder(runtime, model, { rows: 1, positions: 256, pages: 16 });
});
after(async () => {
  await base.release();
  rmSync(folder, { recursive: true });
});

type Bound = { readonly bits: LinearBits | null; readonly meanKl: number; readonly top1: number };

const exact: Bound = { bits: 32, meanKl: 1e-5, top1: 0.995 };
const eight: Bound = { bits: 8, meanKl: 0.015, top1: 0.94 };
const own: Bound = { bits: null, meanKl: 0.25, top1: 0.76 };

const bounds: Readonly<Record<string, readonly Bound[]>> = {
  order: [exact, eight, own],
  pirate: [exact, eight, own],
  shell: [exact, eight, own],
  // Large random matrices, which change little of what the model says and every weight: the worst case for 4 bits,
  // whose noise here is more than the adapter itself.
  'r16-all': [{ ...own, meanKl: 0.6, top1: 0.65 }],
  dora: [exact, eight],
  'lm-head': [eight],
  'two-at-once': [exact, eight],
};

const trained = ['order', 'pirate', 'shell'];

for (const one of readAdapterCases().filter(({ name }) => Object.hasOwn(bounds, name))) {
  test(`${one.name}: merged against unmerged`, async (context) => {
    const { adapter, scale } = await adapterOf(one);
    const placement = base.pages.place(adapter)!;
    await placement.copied;
    const unmerged = await logitsOf(one, base, { adapter, scale, placement });
    base.pages.release(placement);
    const without = compare(unmerged, await logitsOf(one, base, null));
    context.diagnostic(`without the adapter: ${line(without)}`);
    for (const { bits, meanKl, top1 } of bounds[one.name]!) {
      const merged = await mergeModel(runtime, model, adapter, { scale, bits, breath });
      const decoder = createDecoder(runtime, merged, { rows: 1, positions: 256 });
      const found = compare(unmerged, await logitsOf(one, decoder, null));
      await decoder.release();
      context.diagnostic(`${bits ?? 'own'} bits: ${line(found)}`);
      assert.ok(found.meanKl <= meanKl, `${bits ?? 'own'} bits: mean KL ${found.meanKl}`);
      assert.ok(found.top1Agreement >= top1, `${bits ?? 'own'} bits: top-1 ${found.top1Agreement}`);
      // Most of the way from the base to a trained adapter; to the nearest code of 4 bits it would be next to nothing.
      if (trained.includes(one.name)) assert.ok(found.meanKl < 0.2 * without.meanKl, `the base: ${without.meanKl}`);
    }
  });
}

const line = ({ meanKl, maxKl, top1Agreement }: MergeQuality) =>
  `mean KL ${meanKl.toFixed(5)}, largest ${maxKl.toFixed(3)}, top-1 ${(100 * top1Agreement).toFixed(1)} %`;

async function adapterOf({ name, adapters }: AdapterCase): Promise<{ adapter: ResidentAdapter; scale: number }> {
  const scaled = [];
  for (const { name, scale } of adapters) {
    scaled.push({ adapter: await readAdapter(writtenAdapter(name, folder), { model, breath }), scale });
  }
  if (scaled.length === 1) return scaled[0]!;
  return { adapter: await combineAdapters(name, scaled, model.shape, breath), scale: 1 };
}

/** At every position of each prompt and of what follows it. */
async function logitsOf({ prompts }: AdapterCase, decoder: Decoder, row: RowAdapter | null): Promise<Float32Array[]> {
  const all = [];
  for (const { tokens: prompt, greedy } of prompts) {
    const tokens = [...prompt, ...greedy];
    const batch = { kind: 'prompt', first: 0, pasts: [0], tokens, sampled: [...tokens.keys()] } as const;
    all.push((await decoder.forward(evenBatch({ ...batch, adapters: [row] }))).slice());
  }
  return all;
}

function compare(unmerged: readonly Float32Array[], merged: readonly Float32Array[]): MergeQuality {
  const comparison = createComparison(base.vocabulary);
  for (const [i, logits] of unmerged.entries()) comparison.add(logits, merged[i]!);
  return comparison.quality();
}
