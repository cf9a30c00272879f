// The tiny models of every architecture with adapters applied, against the same models with the adapters merged into
// their weights.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../../src/core/clock.ts';
import { prng } from '../../../src/core/prng.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../../../src/engine/adapters/row-adapter.ts';
import type { Decoder } from '../../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../../src/engine/runner/forward-batch.ts';
import { lower } from '../../../src/graph/lower.ts';
import type { LoweredModel } from '../../../src/graph/lowered.ts';
import { anotherDecoder, testRuntime } from '../../helpers/test-runtime.ts';
import { tinyModel } from '../../helpers/tiny-lowered.ts';
import { tinyModels } from '../../helpers/tiny-models.ts';
import {
  everyModule,
  layerModules,
  mergedModel,
  type RandomAdapter,
  randomAdapter,
  type ScaledAdapter,
} from './random-adapters.ts';

const runtime = testRuntime();
const breath = createBreath(systemClock);
const positions = 64;
const steps = 6;
/**
 * Largest difference over the largest logit. Pages hold the files' own bits, except for differing scalings and DoRA's
 * gains: these are multiplied into B, which is rounded to half floats, each value to 2^-11 of itself, and a logit of
 * these small models sums few of them.
 */
const toleranceOf = (batch: string) => (batch.includes('DoRA') || batch === 'plain' ? 2e-3 : 1e-3);

/** A row of the batch: the adapters that apply to it, by letter, each with its scale. */
type Row = readonly (readonly [letter: string, scale: number])[];

const plans = {
  a: { seed: 1, modules: layerModules, r: 16 },
  b: { seed: 2, modules: ['q_proj', 'v_proj'], r: 1 },
  c: { seed: 3, modules: layerModules, r: 5, rankPattern: { v_proj: 17, 'model.layers.1.mlp.down_proj': 2 } },
  d: { seed: 4, modules: ['down_proj', 'k_proj'], r: 9, layers: [1] },
  head: { seed: 5, modules: everyModule, r: 5 },
  onlyHead: { seed: 6, modules: ['lm_head'], r: 16 },
  dora: { seed: 7, modules: everyModule, r: 5, dora: true },
  doraInPart: { seed: 8, modules: ['q_proj', 'up_proj'], r: 8, dora: true, layers: [0] },
} as const;

const batches: Readonly<Record<string, readonly Row[]>> = {
  plain: [
    [['a', 1]],
    [],
    [['b', 1]],
    [['a', 0.5]],
    [['c', 1]],
    [['d', 2]],
    [
      ['c', -1],
      ['b', 0.5],
      ['d', 1],
    ],
  ],
  'with lm_head': [
    [['head', 1]],
    [],
    [['a', 1]],
    [['onlyHead', 0.5]],
    [
      ['head', 0.5],
      ['b', 2],
    ],
    [['head', 1]],
  ],
  'with DoRA': [[['dora', 1]], [['a', 0.5]], [], [['doraInPart', 1]], [['dora', 1]], [['head', 1]]],
  alone: [[['a', 1]]],
  'alone with DoRA': [[['dora', 1]]],
};

const random = prng(77);
const below = (limit: number) => Math.floor(random() * limit);

for (const name of tinyModels) {
  test(`${name}: rows with adapters in one batch give the merged models' logits`, async (context) => {
    const base = await tinyModel(name);
    const model = lower(base, 32);
    const adapters = new Map<string, RandomAdapter>(
      Object.entries(plans).map(([letter, plan]) => [letter, randomAdapter(base.shape, plan)]),
    );
    const decoder = await anotherDecoder(runtime, model, { rows: 8, positions, pages: 24, kvType: 'float32' });
    const merged = new Map<string, Decoder>();
    // Rows of a batch with the same weights hold different tokens, so each has a decoder of its own.
    const alone = async (scaled: readonly ScaledAdapter[], row: Row, copy: number) => {
      const key = JSON.stringify([row, copy]);
      const options = { rows: 1, positions, kvType: 'float32' } as const;
      const found = merged.get(key) ?? (await anotherDecoder(runtime, lower(mergedModel(base, scaled), 32), options));
      merged.set(key, found);
      return found;
    };
    for (const [batch, rows] of Object.entries(batches)) {
      const parties = [];
      for (const [i, row] of rows.entries()) {
        const copy = rows.slice(0, i).filter((other) => JSON.stringify(other) === JSON.stringify(row)).length;
        const scaled = row.map(([letter, scale]) => ({ adapter: adapters.get(letter)!, scale }));
        const tokens = Array.from({ length: 9 + below(12) }, () => below(decoder.vocabulary));
        parties.push({ tokens, row: await placed(decoder, model, scaled), alone: await alone(scaled, row, copy) });
      }
      const largest = await difference(decoder, parties);
      context.diagnostic(`${batch}: within ${largest.toExponential(1)} of the largest logit`);
      assert.ok(largest < toleranceOf(batch), `${batch}: ${largest}`);
      for (const { row } of parties) if (row) decoder.pages.release(row.placement);
      decoder.pages.checkIntegrity();
    }
    for (const one of [decoder, ...merged.values()]) one.release();
  });
}

/** The adapters, read from their files and combined, with pages. */
async function placed(
  decoder: Decoder,
  model: LoweredModel,
  scaled: readonly ScaledAdapter[],
): Promise<RowAdapter | null> {
  if (scaled.length === 0) return null;
  const read = [];
  for (const { adapter, scale } of scaled)
    read.push({ adapter: await readAdapter(adapter.files, { model, breath }), scale });
  const [only] = read as [(typeof read)[0]];
  const key = scaled.map(({ adapter, scale }) => `${adapter.files.digest}*${scale}`).join('+');
  const adapter = read.length === 1 ? only.adapter : await combineAdapters(key, read, model.shape, breath);
  const placement = decoder.pages.place(adapter);
  assert.ok(placement, 'no pages');
  await placement.copied;
  return { adapter, placement, scale: read.length === 1 ? only.scale : 1 };
}

type Party = { readonly tokens: readonly number[]; readonly row: RowAdapter | null; readonly alone: Decoder };

/**
 * Prefills every row in two chunks with logits at each position, and decodes some steps in batches of falling size,
 * each row beside its merged model. Returns the largest difference over the largest logit.
 */
async function difference(decoder: Decoder, parties: readonly Party[]): Promise<number> {
  let [largest, scale, effect] = [0, 0, 0];
  const compare = (found: Float32Array, expected: Float32Array) => {
    for (const [i, logit] of expected.entries()) {
      const apart = Math.abs(logit - found[i]!);
      // Written so that a NaN counts, which Math.max and `>` would lose.
      if (!(apart <= largest)) largest = apart;
      scale = Math.max(scale, Math.abs(logit));
    }
  };
  for (const [first, { tokens, row, alone }] of parties.entries()) {
    for (const [from, to] of [
      [0, 8],
      [8, tokens.length],
    ] as const) {
      const chunk = tokens.slice(from, to);
      const batch = { kind: 'prompt', pasts: [from], tokens: chunk, sampled: [...chunk.keys()] } as const;
      const found = (await decoder.forward(evenBatch({ ...batch, first, adapters: [row] }))).slice();
      const expected = await alone.forward(evenBatch({ ...batch, first: 0 }));
      compare(found, expected);
      if (row && row.scale === 1 && from === 0) {
        const plain = await decoder.forward(evenBatch({ ...batch, first: decoder.kv.rows - 1 }));
        effect = Math.max(effect, ...plain.map((logit, i) => Math.abs(logit - found[i]!)));
      }
    }
  }
  assert.ok(effect > 0.05 * scale, `the adapters change nothing: ${effect} of ${scale}`);
  const { vocabulary } = decoder;
  for (let step = 0; step < steps; step++) {
    const running = parties.slice(0, Math.max(1, parties.length - step));
    const pasts = running.map(({ tokens }) => tokens.length + step);
    const next = running.map(() => below(vocabulary));
    const sampled = [...running.keys()];
    const batch = { kind: 'answer', first: 0, pasts, tokens: next, sampled } as const;
    const logits = await decoder.forward(evenBatch({ ...batch, adapters: running.map(({ row }) => row) }));
    const found = logits.slice();
    for (const [i, { alone }] of running.entries()) {
      const one = { kind: 'answer', first: 0, pasts: [pasts[i]!], tokens: [next[i]!], sampled: [0] } as const;
      compare(found.subarray(i * vocabulary, (i + 1) * vocabulary), await alone.forward(evenBatch(one)));
    }
  }
  return largest / scale;
}

test('at the native width too, rows in one batch get what each gets by itself', async (context) => {
  for (const name of ['llama-gguf', 'llama', 'qwen2'] as const) {
    const model = lower(await tinyModel(name), null);
    const options = { rows: 6, positions, pages: 16, decodeActivations: 'int16' } as const;
    const decoder = await anotherDecoder(runtime, model, options);
    const rows: (RowAdapter | null)[] = [];
    for (const row of [[['dora', 1]], [['a', 0.5]], [], [['head', 2]], [['a', 1]], []] as Row[]) {
      const scaled = row.map(([letter, scale]) => {
        return { adapter: randomAdapter(model.shape, plans[letter as keyof typeof plans]), scale };
      });
      rows.push(await placed(decoder, model, scaled));
    }
    const tokens = Array.from({ length: 7 }, () => below(decoder.vocabulary));
    const sampled = [tokens.length - 1];
    for (const [first, row] of rows.entries()) {
      await decoder.forward(evenBatch({ kind: 'prompt', first, pasts: [0], tokens, sampled, adapters: [row] }));
    }
    const next = rows.map(() => 9);
    const step = { first: 0, pasts: rows.map(() => tokens.length), tokens: next, sampled: [...rows.keys()] };
    const found = (await decoder.forward(evenBatch({ kind: 'answer', ...step, adapters: rows }))).slice();
    let [largest, scale] = [0, 0];
    for (const [first, row] of rows.entries()) {
      const one = { pasts: [tokens.length], tokens: [9], sampled: [0], adapters: [row] };
      const alone = await decoder.forward(evenBatch({ kind: 'prompt', first, ...one }));
      for (const [i, logit] of alone.entries()) {
        const apart = Math.abs(logit - found[first * decoder.vocabulary + i]!);
        if (!(apart <= largest)) largest = apart;
        scale = Math.max(scale, Math.abs(logit));
      }
    }
    context.diagnostic(`${name}: within ${(largest / scale).toExponential(1)} of the largest logit`);
    assert.ok(largest < 5e-3 * scale, `${name}: ${largest / scale}`);
    await decoder.release();
  }
});
