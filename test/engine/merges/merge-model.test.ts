// Merged weights against the definition, for every form that a linear may have; the base stays unchanged.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import type { BaseModel } from '../../../src/core/base-model.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import type { ResidentAdapter } from '../../../src/engine/adapters/resident-adapter.ts';
import { mergedBytes, mergeModel } from '../../../src/engine/merges/merge-model.ts';
import { createDecoder } from '../../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../../src/engine/runner/forward-batch.ts';
import { lower } from '../../../src/graph/lower.ts';
import { isFloats, type LinearBits, type LoweredModel } from '../../../src/graph/lowered.ts';
import { createCodedRow, type PackedForm, packedRows } from '../../../src/graph/packed.ts';
import { bitsFor } from '../../../src/graph/quantized.ts';
import { loweredFile } from '../../../src/graph/weights.ts';
import { createOnnxRuntime } from '../../../src/runtime/onnx-runtime.ts';
import { linearValues } from '../../graph/linear-values.ts';
import { tinyModel } from '../../helpers/tiny-lowered.ts';
import {
  type AdapterPlan,
  everyModule,
  layerModules,
  randomAdapter,
  randomPairs,
  type ScaledAdapter,
  writeAdapter,
} from '../adapters/random-adapters.ts';
import { breath, densely, oddModel, resident } from './merging.ts';

const runtime = createOnnxRuntime({ library: null, threads: 1, spin: false });
const widths = [null, 4, 8, 16, 32] as const;

/** Forms of all kinds: the GGUF has 4 and 8 bits, symmetric and corrected; the others have floats, rounded or not. */
const bases: readonly { name: string; open(): Promise<BaseModel>; lowered: readonly (LinearBits | null)[] }[] = [
  { name: 'llama-gguf', open: () => tinyModel('llama-gguf'), lowered: [null, 4, 8, 16, 32] },
  { name: 'llama', open: () => tinyModel('llama'), lowered: [4, 8] },
  { name: 'qwen2', open: () => tinyModel('qwen2'), lowered: [8] },
  { name: 'odd widths', open: async () => oddModel(), lowered: [null] },
];

const plans: Readonly<Record<string, AdapterPlan>> = {
  all: { seed: 1, modules: layerModules, r: 16 },
  'one part': { seed: 2, modules: ['q_proj', 'up_proj'], r: 3 },
  'one layer': { seed: 3, modules: ['v_proj', 'down_proj'], r: 9, layers: [1] },
  head: { seed: 4, modules: everyModule, r: 5 },
  dora: { seed: 5, modules: ['q_proj', 'o_proj', 'up_proj', 'lm_head'], r: 4, dora: true, layers: [0] },
};

const digest = (model: LoweredModel) =>
  createHash('sha256')
    .update(Buffer.concat([...loweredFile(model)]))
    .digest('hex');

type Merge = {
  readonly base: LoweredModel;
  readonly scaled: readonly ScaledAdapter[];
  readonly adapter: ResidentAdapter;
};

async function merge({ base, adapter }: Merge, bits: LinearBits | null, scale = 1): Promise<LoweredModel> {
  const before = digest(base);
  const shares: number[] = [];
  const options = { scale, bits, breath, onProgress: (share: number) => void shares.push(share) };
  const merged = await mergeModel(runtime, base, adapter, options);
  assert.equal(digest(base), before, 'the base was written to');
  assert.deepEqual(
    shares,
    shares.toSorted((a, b) => a - b),
  );
  assert.equal(shares.at(-1), 1);
  return merged;
}

/** Scales [n, k / 32]; null for floats. */
function scalesOf({ linears, weights }: LoweredModel, name: string): Float32Array | null {
  const form = linears.get(name)!;
  if (isFloats(form.bits)) return null;
  const rows = packedRows(form as PackedForm, weights.get(`${name}.packed`)!.data as Uint8Array<ArrayBuffer>);
  const coded = createCodedRow(form.k);
  const scales = new Float32Array((form.n * form.k) / 32);
  for (let row = 0; row < form.n; row++) {
    rows.read(row, coded);
    scales.set(coded.scales, (row * form.k) / 32);
  }
  return scales;
}

/**
 * The largest distance of merged linears from the definition, in steps of a weight's grid; for floats in 1e-6 and 2^-12
 * of it.
 */
function stepsApart({ base, scaled }: Merge, merged: LoweredModel): number {
  let most = 0;
  for (const [name, wanted] of densely(base, scaled)) {
    const found = linearValues(merged, name);
    const scales = scalesOf(merged, name);
    const floatStep = merged.linears.get(name)!.bits === 16 ? 2 ** -12 : 1e-6;
    for (let i = 0; i < wanted.length; i++) {
      const step = scales === null ? floatStep * Math.max(1, Math.abs(wanted[i]!)) : Math.abs(scales[i >> 5]!) + 1e-6;
      const apart = Math.abs(found[i]! - wanted[i]!) / step;
      if (!(apart <= most)) most = apart;
    }
  }
  return most;
}

for (const { name, open, lowered } of bases) {
  test(`${name}: merged weights are W + scale · B A, within a step of their grid`, async (context) => {
    const model = await open();
    for (const from of lowered) {
      const base = lower(model, from);
      for (const [letter, plan] of Object.entries(plans)) {
        const adapter = randomAdapter(base.shape, plan);
        const one: Merge = { base, adapter: await resident(base, adapter), scaled: [{ adapter, scale: 1 }] };
        for (const to of widths) {
          const merged = await merge(one, to);
          const apart = stepsApart(one, merged);
          const what = `${letter}, lowered to ${from}, merged to ${to}`;
          context.diagnostic(`${what}: ${apart.toFixed(2)}`);
          // Half floats hold an adapter's values exactly, but not DoRA's gains.
          const floatsMax = plan.dora ? 1000 : 4;
          const isFloat = (to ?? from ?? 0) >= 16 || name === 'odd widths';
          assert.ok(apart <= (isFloat ? floatsMax : 1.01), `${what}: ${apart}`);
          checkSharing(one, merged, to);
        }
      }
    }
  });
}

/**
 * Asserts that untouched tensors are the base's own, that touched ones have the form asked for, and that there are no
 * others.
 */
function checkSharing({ base, adapter, scaled }: Merge, merged: LoweredModel, to: LinearBits | null): void {
  const touched = new Set<string>();
  const [before, after] = [densely(base, []), densely(base, scaled)];
  for (const [name, values] of after)
    if (!values.every((value, i) => value === before.get(name)![i])) touched.add(name);
  let bytes = 0;
  for (const [name, form] of base.linears) {
    const found = merged.linears.get(name)!;
    if (!touched.has(name)) assert.equal(found, form);
    else if (to === null) assert.deepEqual(found, form);
    else assert.equal(found.bits, bitsFor(form.k, to));
  }
  const linearOf = (weight: string) => weight.replace(/\.[a-z]+$/, '');
  for (const [name, tensor] of merged.weights) {
    if (name.startsWith('embedding.'))
      assert.equal(tensor.data, base.weights.get(name.replace('embedding', 'head'))!.data);
    else if (touched.has(linearOf(name)) && !name.endsWith('.bias')) {
      assert.notEqual(tensor, base.weights.get(name));
      bytes += tensor.data.byteLength;
    } else assert.equal(tensor, base.weights.get(name), name);
  }
  for (const name of base.weights.keys()) {
    assert.ok(merged.weights.has(name) || touched.has(linearOf(name)), `${name} is lost`);
  }
  assert.equal(mergedBytes(base, adapter, to), bytes);
}

test('parts that an adapter leaves alone keep their values in every bit, in wider codes too', async () => {
  for (const from of [null, 4] as const) {
    const base = lower(await tinyModel('llama-gguf'), from);
    const adapter = randomAdapter(base.shape, { seed: 6, modules: ['k_proj', 'gate_proj'], r: 2, dora: true });
    const one: Merge = { base, adapter: await resident(base, adapter), scaled: [] };
    const { heads, kvHeads, headDim, intermediate } = base.shape;
    const [q, k] = [heads * headDim, kvHeads * headDim];
    for (const to of [null, 8, 32] as const) {
      const merged = await merge(one, to);
      for (const [name, from, until] of [
        ['layers.0.qkv', 0, q],
        ['layers.0.qkv', q + k, q + 2 * k],
        ['layers.0.gate_up', intermediate, 2 * intermediate],
      ] as const) {
        const width = base.linears.get(name)!.k;
        const rows = (model: LoweredModel) => linearValues(model, name).subarray(from * width, until * width);
        assert.deepEqual(rows(merged), rows(base));
        assert.notDeepEqual(linearValues(merged, name), linearValues(base, name));
      }
    }
  }
});

test('a scale, and several adapters as one', async () => {
  const base = lower(await tinyModel('llama-gguf'), null);
  const [a, b] = [randomAdapter(base.shape, plans.all!), randomAdapter(base.shape, plans['one layer']!)];
  const half: Merge = { base, adapter: await resident(base, a), scaled: [{ adapter: a, scale: -0.5 }] };
  const scaled = [
    { adapter: a, scale: 0.25 },
    { adapter: b, scale: -2 },
  ];
  const residents = [];
  for (const { adapter, scale } of scaled) residents.push({ adapter: await resident(base, adapter), scale });
  const both: Merge = { base, scaled, adapter: await combineAdapters('both', residents, base.shape, breath) };
  for (const to of widths) {
    const limit = to !== null && isFloats(to) ? 4 : 1.01;
    assert.ok(stepsApart(half, await merge(half, to, -0.5)) <= limit);
    assert.ok(stepsApart(both, await merge(both, to)) <= limit);
  }
});

test('an adapter that adds nothing, or at scale 0, leaves all values as they are', async () => {
  const base = lower(await tinyModel('llama-gguf'), null);
  const pairs = randomPairs(base.shape, plans.all!).map((pair) => ({ ...pair, loraB: pair.loraB.map(() => 0) }));
  const files = writeAdapter(plans.all!, pairs);
  const nothing = await resident(base, { files, pairs });
  assert.equal(mergedBytes(base, nothing, 8), 0);
  assert.deepEqual(await mergeModel(runtime, base, nothing, { scale: 1, bits: 8, breath }), base);
  const adapter = await resident(base, randomAdapter(base.shape, plans.all!));
  const merged = await mergeModel(runtime, base, adapter, { scale: 0, bits: null, breath });
  for (const name of base.linears.keys()) {
    if (base.linears.get(name)!.bits === 4) assert.deepEqual(linearValues(merged, name), linearValues(base, name));
  }
});

test('a decoder over merged floats gives the logits of the adapter beside the base', async (context) => {
  for (const name of ['llama', 'llama-gguf', 'qwen2', 'qwen3'] as const) {
    const base = lower(await tinyModel(name), 32);
    for (const letter of ['all', 'head', 'dora']) {
      const adapter = await resident(base, randomAdapter(base.shape, plans[letter]!));
      const merged = await mergeModel(runtime, base, adapter, { scale: 1, bits: null, breath });
      await sameLogits(base, adapter, merged, 1e-4);
    }
    context.diagnostic(name);
  }
});

test('a tied 8-bit head that is merged stays the embedding as it was', async () => {
  const base = lower(await tinyModel('llama-gguf'), null);
  assert.ok(base.shape.tiedEmbedding && !base.weights.has('embedding'));
  const adapter = await resident(base, randomAdapter(base.shape, { seed: 8, modules: ['lm_head'], r: 4 }));
  const merged = await mergeModel(runtime, base, adapter, { scale: 1, bits: 32, breath });
  await sameLogits(base, adapter, merged, 2e-2);
});

/** Prefills both; asserts that differences are at most `tolerance` times the largest logit. */
async function sameLogits(base: LoweredModel, adapter: ResidentAdapter, merged: LoweredModel, tolerance: number) {
  const options = { rows: 1, positions: 32, pages: 16, kvType: 'float32' } as const;
  const decoders = [base, merged].map((model) => createDecoder(runtime, model, options));
  const [unmerged, alone] = decoders as [(typeof decoders)[0], (typeof decoders)[0]];
  const tokens = Array.from({ length: 20 }, (_, i) => (i * 37) % unmerged.vocabulary);
  const batch = { kind: 'prompt', first: 0, pasts: [0], tokens, sampled: [...tokens.keys()] } as const;
  const placement = unmerged.pages.place(adapter)!;
  await placement.copied;
  const row = { adapter, placement, scale: 1 };
  const wanted = (await unmerged.forward(evenBatch({ ...batch, adapters: [row] }))).slice();
  const found = await alone.forward(evenBatch(batch));
  const largest = wanted.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  for (const [i, logit] of wanted.entries()) assert.ok(Math.abs(logit - found[i]!) < tolerance * largest);
  for (const decoder of decoders) await decoder.release();
}
