// Adapters that change rows of the embedding, through the whole engine, against PEFT in float64: LoRA on embed_tokens,
// and trained tokens, also where the head is tied to the embedding. Alone, in one batch with others, combined, merged.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { type AppliedAdapter, mergeKey } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import { kvTokenBytes } from '../../src/core/memory-plan.ts';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import { mergeMemory } from '../../src/engine/merges/merge-memory.ts';
import { mergeModel } from '../../src/engine/merges/merge-model.ts';
import { createDecoder, type DecoderOptions } from '../../src/engine/runner/decoder.ts';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { lower } from '../../src/graph/lower.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyModel } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import { layerModules, randomAdapter, writeAdapterFiles } from './adapters/random-adapters.ts';
import { tokensOf, type Witness, type WitnessedMerges, witnessedEngine } from './witnesses.ts';

type Case = {
  readonly model: TinyModel;
  readonly kind: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly weights: string;
  readonly logprobs: readonly number[];
  readonly greedy: readonly number[];
};
type Fixture = { readonly tokens: readonly number[]; readonly trained: readonly number[]; readonly cases: Case[] };
const url = new URL('../fixtures/embedding-adapters.json', import.meta.url);
const fixture = JSON.parse(readFileSync(url, 'utf8')) as Fixture;

const runtime = testRuntime();
const skip = runtime.device === null ? false : 'a device refuses them';
const breath = createBreath(systemClock);

const adapterOf = ({ config, weights }: Pick<Case, 'config' | 'weights'>, scale = 1): AppliedAdapter => ({
  files: writeAdapterFiles(Buffer.from(JSON.stringify(config)), Buffer.from(weights, 'base64')),
  scale,
});
const caseOf = (model: TinyModel, kind: string) =>
  fixture.cases.find((one) => one.model === model && one.kind === kind)!;

type EngineOptions = Omit<DecoderOptions, 'rows' | 'positions'> & { readonly chunk?: number };

function engineOf(model: LoweredModel, { chunk = 48, ...options }: EngineOptions = {}, more: WitnessedMerges = {}) {
  const decoder = createDecoder(runtime, model, {
    ...{ rows: 6, positions: 160, pages: 16, kvType: 'float32', decodeActivations: 'int16' },
    ...options,
  });
  const store = (clock: typeof systemClock, onChange: () => void) =>
    new AdapterStore({
      ...{ bytesMax: 2 ** 30, clock, onChange },
      async read({ files }) {
        const adapter = await readAdapter(files, { model, breath, bits: options.adapterBits ?? 16 });
        await decoder.prepare(adapter);
        return adapter;
      },
      combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
    });
  return { decoder, engine: witnessedEngine(decoder, chunk, store, more) };
}

const furthest = (found: readonly number[], expected: readonly number[]) =>
  found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);

const promptLogprobs = ({ end }: Witness) => {
  assert.equal(end!.error, undefined);
  return end!.promptLogprobs!.slice(1).map((one) => one!.logprob);
};

const answers = { maxTokens: 6 };
const whole = { promptLogprobs: 0 };

for (const name of new Set(fixture.cases.map(({ model }) => model))) {
  test(`${name}: log-probabilities and greedy tokens are PEFT's`, { skip }, async (context) => {
    const model = lower(await tinyModel(name), 32);
    const { decoder, engine } = engineOf(model, { chunk: 5 });
    const plain = engine.add(fixture.tokens, answers, [], undefined, whole);
    await engine.drain();
    for (const one of fixture.cases.filter(({ model }) => model === name)) {
      const witness = engine.add(fixture.tokens, answers, [adapterOf(one)], undefined, whole);
      await engine.drain();
      const apart = furthest(promptLogprobs(witness), one.logprobs);
      const effect = furthest(promptLogprobs(plain), one.logprobs);
      context.diagnostic(`${one.kind}: within ${apart.toExponential(1)} nats; it moves ${effect.toFixed(2)}`);
      // Pages hold ranks of the head and of linears in half floats; rows of the embedding are not rounded.
      assert.ok(apart < (one.kind === 'embedding' ? 2e-4 : 5e-3), `${one.kind}: ${apart}`);
      assert.ok(effect > 0.1, `${one.kind}: ${effect}`);
      assert.deepEqual(tokensOf(witness), one.greedy, one.kind);
    }
    await engine.settle();
    await decoder.release();
  });
}

const tiny = lower(await tinyModel('llama'), null);
const embedding = adapterOf(caseOf('llama', 'embedding and linears'));
const tokens = adapterOf(caseOf('llama', 'tokens alone'));
const pairs = { files: randomAdapter(tiny.shape, { seed: 5, modules: layerModules, r: 8 }).files, scale: 0.5 };

test('in one batch with others everybody has the very bits that they have alone', { skip }, async () => {
  const { decoder, engine } = engineOf(tiny);
  const all = [[], [embedding], [tokens], [pairs], [tokens, pairs], [{ ...embedding, scale: 0.25 }]];
  const ask = (adapters: readonly AppliedAdapter[]) =>
    engine.add(fixture.tokens, { maxTokens: 12, logprobs: 3 }, adapters, undefined, whole);
  const alone = [];
  for (const adapters of all) {
    alone.push(ask(adapters));
    await engine.drain();
  }
  const together = all.map(ask);
  await engine.drain();
  const said = ({ events, end }: Witness) => [
    events.map(({ token, logprobs }) => [token, logprobs]),
    end!.promptLogprobs,
  ];
  assert.deepEqual(together.map(said), alone.map(said));
  assert.equal(new Set(alone.map((one) => JSON.stringify(said(one)))).size, all.length);
  await engine.settle();
  await decoder.release();
});

test('scales and several of them add up', { skip }, async () => {
  const { decoder, engine } = engineOf(lower(await tinyModel('llama'), 32));
  const ask = async (...adapters: readonly AppliedAdapter[]) => {
    const witness = engine.add(fixture.tokens, answers, adapters, undefined, whole);
    await engine.drain();
    return promptLogprobs(witness);
  };
  const near = (found: readonly number[], expected: readonly number[], most = 5e-3) => {
    const apart = furthest(found, expected);
    assert.ok(apart < most, `${apart}`);
  };
  const plain = await ask();
  near(await ask({ ...embedding, scale: 0 }), plain, 1e-4);
  near(await ask({ ...tokens, scale: 0 }), plain, 1e-4);
  const half = { ...tokens, scale: 0.5 };
  near(await ask(half, half), await ask(tokens));
  // An adapter that PEFT saved as one gives the same as its two parts in one request.
  const one = caseOf('llama', 'tokens beside LoRA');
  near(await ask(...partsOf(one)), one.logprobs);
  const order = await ask(embedding, tokens);
  near(await ask(tokens, embedding), order);
  assert.ok(furthest(order, await ask(embedding)) > 0.05);
  await engine.settle();
  await decoder.release();
});

/** Splits an adapter into its pairs and its trained tokens. */
function partsOf({ config, weights }: Case): AppliedAdapter[] {
  const file = Buffer.from(weights, 'base64');
  const all = parseSafetensorsHeader(file, file.length)!.tensors.map(({ name, type, shape, offset, bytes }) => {
    return { name, type, shape, bytes: new Uint8Array(file.subarray(offset, offset + bytes)) };
  });
  const isTokens = ({ name }: { readonly name: string }) => name.includes('trainable_tokens');
  const { trainable_token_indices: token_indices, ...lora } = config;
  const trained = { peft_type: 'TRAINABLE_TOKENS', task_type: 'CAUSAL_LM', token_indices };
  return [[lora, all.filter((tensor) => !isTokens(tensor))] as const, [trained, all.filter(isTokens)] as const].map(
    ([config, tensors]) => {
      const weights = Buffer.from(writeSafetensors(tensors)).toString('base64');
      return adapterOf({ config: config as Case['config'], weights });
    },
  );
}

test('beginnings are shared by requests with the same adapter alone', { skip }, async () => {
  const { decoder, engine } = engineOf(tiny, { prefixBytes: 64 * kvTokenBytes(tiny.shape, 4) * kvBlock });
  const cachedOf = async (...adapters: readonly AppliedAdapter[]) => {
    const witness = engine.add(fixture.tokens, { maxTokens: 1 }, adapters);
    await engine.drain();
    return witness.end!.cachedTokens;
  };
  const asked = [[], [embedding], [tokens], [{ ...embedding, scale: 0.5 }], [embedding, tokens]];
  for (const adapters of asked) assert.equal(await cachedOf(...adapters), 0);
  for (const adapters of asked) assert.equal(await cachedOf(...adapters), kvBlock);
  await decoder.release();
});

test('a merge gives what the mixed batch gives', { skip }, async () => {
  const model = lower(await tinyModel('llama'), 32);
  const arithmetic = {
    bytesOf: (adapter: Parameters<typeof mergeMemory>[1], bits: Parameters<typeof mergeMemory>[2]) =>
      mergeMemory(model, adapter, bits, 'host'),
    merge: (adapter: Parameters<typeof mergeModel>[2], options: Parameters<typeof mergeModel>[3]) =>
      mergeModel(runtime, model, adapter, options),
  };
  const { decoder, engine } = engineOf(model, {}, { arithmetic, bytesMax: 2 ** 30 });
  for (const adapters of [[embedding], [{ ...tokens, scale: 0.5 }], [adapterOf(caseOf('llama', 'embedding'))]]) {
    const key = mergeKey(adapters);
    engine.engine.merge({ key, adapters, bits: null, probes: [[...fixture.tokens]] });
    await engine.mergesSettled();
    const told = engine.mergeEvents.at(-1)!;
    assert.equal(told.state, 'merged');
    assert.ok(told.state === 'merged' && told.bytes > 0 && told.quality!.meanKl < 1e-5, JSON.stringify(told));
    const runs = [];
    for (const mergeKey of [key, null]) {
      const witness = engine.add(fixture.tokens, { maxTokens: 8 }, adapters, undefined, { mergeKey, ...whole });
      await engine.drain();
      runs.push(witness);
    }
    assert.deepEqual([runs[0]!.end!.mergedBits, runs[1]!.end!.mergedBits], [32, null]);
    const apart = furthest(promptLogprobs(runs[0]!), promptLogprobs(runs[1]!));
    assert.ok(apart < 5e-3, `${apart}`);
    assert.deepEqual(tokensOf(runs[0]!), tokensOf(runs[1]!));
    engine.engine.unmerge(key);
    await engine.mergesSettled();
  }
  await engine.settle();
  await decoder.release();
});

test('memory counts what the embedding takes; a device refuses it by name', { skip }, async () => {
  const { vocabulary, hidden } = tiny.shape;
  const read = ({ files }: AppliedAdapter, onDevice = false) => readAdapter(files, { model: tiny, breath, onDevice });
  const alone = await read(adapterOf(caseOf('llama', 'embedding')));
  assert.equal(alone.bytes, 3 * (vocabulary + hidden) * 4);
  const trained = await read(tokens);
  // And one rank of the head for each token.
  assert.equal(trained.bytes, fixture.trained.length * (hidden * 4 + (vocabulary + hidden) * 2));
  for (const adapter of [embedding, tokens]) {
    await assert.rejects(read(adapter, true), { code: 'adapter_unsupported', param: 'embed_tokens' });
  }
});
