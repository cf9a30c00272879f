// Adapters of every kind on the real model against PEFT in float32 on the same dequantised weights: each prompt through
// a prefill, through a decode step, and all of them at once in one mixed batch; in 16 bits, and the first two in 8.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { AppliedAdapter } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { AdapterBits } from '../../src/core/page-sizes.ts';
import { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import { loadWeights } from '../../src/graph/weights.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { marginsOf, tokensOf, type Witness, witnessedEngine } from '../engine/witnesses.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { type AdapterCase, readAdapterCases, writtenAdapter } from './adapters.ts';
import { klDivergence } from './kl.ts';

const cases = readAdapterCases();
const folder = mkdtempSync(join(tmpdir(), 'lorikeet-adapter-parity-'));
type Rig = { readonly decoder: Decoder; readonly store: AdapterStore };
let rigs: Readonly<Record<AdapterBits, Rig>>;
/** Who is told that an adapter or pages arrived. */
let changed = () => {};

before(async () => {
  const runtime = createOnnxRuntime({ library: null, threads: null, spin: true });
  const { model } = await loadWeights(await realModelFiles(), null, folder, assert.fail);
  const breath = createBreath(systemClock);
  const rigOf = async (bits: AdapterBits): Promise<Rig> => {
    const decoder = createDecoder(runtime, model, {
      ...{ rows: 24, positions: 512, pages: 96, adapterBits: bits },
      onPagesChange: () => changed(),
    });
    const store = new AdapterStore({
      bytesMax: 2 ** 31,
      clock: systemClock,
      read: ({ files }) => readAdapter(files, { model, breath, bits }),
      combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
      onChange: () => changed(),
    });
    await decoder.prepare(null);
    return { decoder, store };
  };
  rigs = { 16: await rigOf(16), 8: await rigOf(8) };
});
after(async () => {
  for (const { decoder } of Object.values(rigs)) await decoder.release();
  rmSync(folder, { recursive: true });
});

const appliedOf = ({ adapters }: AdapterCase): AppliedAdapter[] =>
  adapters.map(({ name, scale }) => ({ files: writtenAdapter(name, folder), scale }));

/** Runs `use` with the case's adapter in memory and in pages. */
async function withRow<T>({ decoder, store }: Rig, one: AdapterCase, use: (row: RowAdapter) => Promise<T>): Promise<T> {
  const applied = appliedOf(one);
  const hold = store.hold(applied);
  await hold.settled;
  assert.ok(hold.adapter, `${one.name}: ${hold.error}`);
  const placement = decoder.pages.place(hold.adapter)!;
  await placement.copied;
  try {
    return await use({ adapter: hold.adapter, placement, scale: applied.length === 1 ? applied[0]!.scale : 1 });
  } finally {
    decoder.pages.release(placement);
    hold.release();
  }
}

/**
 * Logits after the prompt, by a prefill, and after each of `tokens`, by decode steps beside a row of the base model.
 * The next call overwrites what the last one gave.
 */
async function* logitsAlong(decoder: Decoder, row: RowAdapter, prompt: readonly number[], tokens: readonly number[]) {
  const prefill = (first: number, tokens: readonly number[], adapters: readonly (RowAdapter | null)[]) =>
    decoder.forward(evenBatch({ kind: 'prompt', first, pasts: [0], tokens, sampled: [tokens.length - 1], adapters }));
  await prefill(1, [0], [null]);
  yield await prefill(0, prompt, [row]);
  for (const [step, token] of tokens.entries()) {
    const pasts = [prompt.length + step, 1 + step];
    const batch = { first: 0, pasts, tokens: [token, token], sampled: [0, 1], adapters: [row, null] };
    yield (await decoder.forward(evenBatch({ kind: 'answer', ...batch }))).subarray(0, decoder.vocabulary);
  }
}

/** The last distributions follow tokens whose decode steps would only cost time. */
const stepsMax = 8;

for (const bits of [16, 8] as const) {
  test(`distributions are PEFT’s, within the base’s own tolerance, with adapters of ${bits} bits`, async (t) => {
    const rig = rigs[bits];
    const all: Record<'prefill' | 'decode', number[]> = { prefill: [], decode: [] };
    for (const one of cases) {
      const own: typeof all = { prefill: [], decode: [] };
      await withRow(rig, one, async (row) => {
        for (const { tokens, greedy, steps, distributions } of one.prompts) {
          let step = 0;
          for await (const logits of logitsAlong(rig.decoder, row, tokens, greedy.slice(0, stepsMax))) {
            const reference = distributions[steps.indexOf(step)];
            if (reference) own[step === 0 ? 'prefill' : 'decode'].push(klDivergence(reference, logits));
            step++;
          }
        }
      });
      const line = (phase: keyof typeof all) =>
        `${mean(own[phase]).toFixed(5)} (largest ${Math.max(...own[phase]).toFixed(4)})`;
      t.diagnostic(`${one.name}: KL ${line('prefill')} by prefill, ${line('decode')} by decode`);
      assert.ok(mean(own.prefill) <= 0.0005, `${one.name}, prefill: ${mean(own.prefill)}`);
      assert.ok(mean(own.decode) <= 0.012, `${one.name}, decode: ${mean(own.decode)}`);
      for (const phase of ['prefill', 'decode'] as const) all[phase].push(...own[phase]);
    }
    const { prefill, decode } = all;
    t.diagnostic(`${cases.length} cases, ${prefill.length} + ${decode.length} distributions`);
    t.diagnostic(`mean KL ${mean(prefill).toFixed(5)} by prefill, ${mean(decode).toFixed(5)} by decode`);
    assert.ok(cases.length >= 12);
    assert.ok(mean(decode) <= 0.006, `decode: ${mean(decode)}`);
  });
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('all of them at once in one batch say what each says alone, and what PEFT says', async (t) => {
  const { decoder, store } = rigs[16];
  const asked = cases.flatMap((one) =>
    one.prompts.filter((_, i) => i % 3 === 0).map((prompt) => ({ one, prompt, applied: appliedOf(one) })),
  );
  const run = async (group: typeof asked): Promise<readonly Witness[]> => {
    const witnessed = witnessedEngine(decoder, 128, (_, onChange) => {
      changed = onChange;
      return store;
    });
    for (const { prompt, applied } of group) witnessed.add(prompt.tokens, { maxTokens: 16, logprobs: 2 }, applied);
    await witnessed.drain();
    return witnessed.witnesses;
  };
  const together = await run(asked);
  const leads: number[] = [];
  let [fromPeft, largest] = [0, 0];
  for (const [i, ask] of asked.entries()) {
    const [alone] = await run([ask]);
    const tokens = tokensOf(together[i]!);
    assert.equal(together[i]!.end!.reason, 'length');
    const step = tokens.findIndex((token, at) => token !== tokensOf(alone!)[at]);
    if (step >= 0) {
      leads.push(marginsOf(alone!)[step]!);
      t.diagnostic(`${ask.one.name} after ${ask.prompt.tokens.length} tokens: another token at step ${step}`);
    }
    const other = tokens.findIndex((token, at) => token !== ask.prompt.greedy[at]);
    if (other < 0) continue;
    fromPeft++;
    largest = Math.max(largest, ask.prompt.margins[other]!);
  }
  t.diagnostic(
    `${leads.length} of ${asked.length} differ from alone, at leads up to ${Math.max(0, ...leads).toFixed(3)}`,
  );
  t.diagnostic(`${fromPeft} of ${asked.length} differ from PEFT, where it led by at most ${largest.toFixed(3)}`);
  assert.ok(leads.every((lead) => lead < 0.02));
  assert.ok(largest < 1);
});
