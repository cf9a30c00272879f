// Prefix tuning, prompt tuning and p-tuning through the whole engine, against PEFT in float64: alone, with LoRA beside
// them, on a merge of that, and on models of every family. Also that the way of computing changes no result.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import type { AppliedAdapter } from '../../src/core/adapter.ts';
import { mergeKey } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import { kvTokenBytes } from '../../src/core/memory-plan.ts';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { prng } from '../../src/core/prng.ts';
import { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import { mergeMemory } from '../../src/engine/merges/merge-memory.ts';
import { mergeModel } from '../../src/engine/merges/merge-model.ts';
import { createDecoder, type DecoderOptions } from '../../src/engine/runner/decoder.ts';
import { lower } from '../../src/graph/lower.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered, tinyModel } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import { hashedAdapter } from './adapters/hashed-adapter.ts';
import { layerModules, randomAdapter, writeAdapterFiles } from './adapters/random-adapters.ts';
import { tokensOf, type Witness, type WitnessedEngine, type WitnessedMerges, witnessedEngine } from './witnesses.ts';

type Case = {
  readonly model: TinyModel;
  readonly kind: string;
  readonly lora: boolean;
  readonly config: { readonly num_virtual_tokens: number };
  readonly weights: string;
  readonly logprobs: readonly number[];
  readonly greedy: readonly number[];
};
const read = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8'));
const fixture: { readonly tokens: readonly number[]; readonly cases: readonly Case[] } = read('virtual-tokens.json');
const embeddings: { readonly cases: readonly Omit<Case, 'lora'>[] } = read('embedding-adapters.json');
const lora: { readonly r: number; readonly scaling: number; readonly modules: readonly string[] } =
  read('gradients.json');

const runtime = testRuntime();
const skip = runtime.device === null ? false : 'a device refuses virtual tokens';
const breath = createBreath(systemClock);

const virtualOf = ({ config, weights }: Case): AppliedAdapter => ({
  files: writeAdapterFiles(Buffer.from(JSON.stringify(config)), Buffer.from(weights, 'base64')),
  scale: 1,
  virtualTokens: config.num_virtual_tokens,
});

type EngineOptions = Omit<DecoderOptions, 'rows' | 'positions'> & { readonly chunk?: number; readonly rows?: number };

function engineOf(
  model: LoweredModel,
  { chunk = 48, rows = 3, ...options }: EngineOptions,
  more: WitnessedMerges = {},
) {
  const decoder = createDecoder(runtime, model, { rows, positions: 160, pages: 16, ...options });
  const store = (clock: typeof systemClock, onChange: () => void) =>
    new AdapterStore({
      ...{ bytesMax: 2 ** 30, clock, onChange },
      async read({ files }) {
        const adapter = await readAdapter(files, { model, breath });
        await decoder.prepare(adapter);
        return adapter;
      },
      combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
    });
  return { decoder, engine: witnessedEngine(decoder, chunk, store, more) };
}

const furthest = (found: readonly number[], expected: readonly number[]) =>
  found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);

const promptLogprobs = ({ end }: Witness) => end!.promptLogprobs!.slice(1).map((one) => one!.logprob);

for (const name of new Set(fixture.cases.map(({ model }) => model))) {
  const cases = fixture.cases.filter(({ model }) => model === name);
  test(`${name}: log-probabilities and greedy tokens are PEFT's`, { skip }, async (context) => {
    const model = lower(await tinyModel(name), 32);
    const adapter = { files: hashedAdapter(model.shape, lora), scale: 1 };
    // Chunks end within the virtual tokens and behind them.
    const { decoder, engine } = engineOf(model, { kvType: 'float32', chunk: 5, decodeActivations: 'int16' });
    const plain = engine.add(fixture.tokens, { maxTokens: 1 }, [], undefined, { promptLogprobs: 0 });
    await engine.drain();
    for (const one of cases) {
      const applied = [...(one.lora ? [adapter] : []), virtualOf(one)];
      const params = { maxTokens: one.greedy.length };
      const witness = engine.add(fixture.tokens, params, applied, undefined, { promptLogprobs: 0 });
      await engine.drain();
      assert.equal(witness.end!.error, undefined);
      const { promptTokens, completionTokens } = witness.end!;
      assert.deepEqual([promptTokens, completionTokens], [fixture.tokens.length, one.greedy.length]);
      const apart = furthest(promptLogprobs(witness), one.logprobs);
      const effect = furthest(promptLogprobs(plain), one.logprobs);
      const label = `${one.kind}${one.lora ? ' beside LoRA' : ''}`;
      context.diagnostic(`${label}: within ${apart.toExponential(1)} nats; it moves ${effect.toFixed(2)}`);
      // Pages hold B in half floats; nothing else is rounded.
      assert.ok(apart < (one.lora ? 5e-3 : 2e-4), `${label}: ${apart}`);
      assert.ok(effect > 0.1, `${label}: ${effect}`);
      assert.deepEqual(tokensOf(witness), one.greedy);
    }
    await engine.settle();
    await decoder.release();
  });
}

const tiny = await tinyLowered('llama-gguf', null);

/**
 * Virtual tokens of llama's cases, whose shape is that of llama-gguf; and LoRA adapters, two of which change the
 * embedding.
 */
function adaptersOf() {
  const ofLlama = fixture.cases.filter(({ model, lora }) => model === 'llama' && !lora);
  const virtual = ofLlama.map((one) => virtualOf(one));
  const pairs = [1, 2].map((seed) => ({
    files: randomAdapter(tiny.shape, { seed, modules: layerModules, r: 8 }).files,
    scale: 0.5,
  }));
  const ofEmbedding = ['embedding and linears', 'tokens alone'].map((kind) => {
    const { config, weights } = embeddings.cases.find((one) => one.model === 'llama' && one.kind === kind)!;
    return { files: writeAdapterFiles(Buffer.from(JSON.stringify(config)), Buffer.from(weights, 'base64')), scale: 1 };
  });
  return { virtual, pairs: [...pairs, ...ofEmbedding] };
}
const { virtual, pairs } = adaptersOf();
const seed = Number(process.env.SEED ?? 3);
const random = prng(seed);
const below = (end: number) => Math.floor(random() * end);
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
const text = (length: number) => Array.from({ length }, () => below(tiny.shape.vocabulary));
const systems = [text(70), text(100)];

function randomRequest() {
  const few = Array.from({ length: 3 }, () => below(tiny.shape.vocabulary));
  const repeats = below(3) === 0;
  const begins = pick(systems).slice(0, below(100));
  const prompt = repeats ? Array.from({ length: 1 + below(60) }, () => pick(few)) : [...begins, ...text(1 + below(30))];
  return {
    prompt,
    params: {
      maxTokens: 1 + below(12),
      temperature: below(2),
      seed: below(1000),
      logprobs: below(2) === 0 ? 2 : null,
      allowedTokens: repeats ? few : null,
    },
    adapters: [...(below(2) === 0 ? [] : [pick(pairs)]), ...(below(4) === 0 ? [] : [pick(virtual)])],
    share: { flow: below(2), weight: 1, priority: 1 },
    more: below(5) === 0 ? { promptLogprobs: 1 } : below(8) === 0 ? { pooling: pick(['mean', 'last'] as const) } : {},
    waits: below(6),
    isAborted: below(10) === 0,
  };
}

async function answer(engine: WitnessedEngine, requests: readonly ReturnType<typeof randomRequest>[]) {
  const witnesses: Witness[] = [];
  for (const { prompt, params, adapters, share, more, waits, isAborted } of requests) {
    const witness = engine.add(prompt, params, adapters, share, more);
    witnesses.push(witness);
    for (let i = 0; i < waits && !engine.engine.idle; i++) await engine.turn();
    if (isAborted) engine.engine.abort(witness.request.id);
  }
  await engine.drain();
  return witnesses;
}

const blockBytes = kvTokenBytes(tiny.shape, 2) * kvBlock;

test('cached, cut, preempted, computed ahead or none of it: the very same answers', { skip }, async () => {
  const plain = engineOf(tiny, { rows: 1, chunk: 1000 });
  const others = [
    engineOf(tiny, { rows: 4, prefixBytes: 64 * blockBytes }),
    engineOf(tiny, { rows: 3, chunk: 5, kvBytes: 5 * blockBytes, prefixBytes: 2 * blockBytes }),
    engineOf(tiny, { rows: 3, kvBytes: 6 * blockBytes }, { speculation: 'always' }),
  ];
  let cached = 0;
  for (let round = 0; round < Number(process.env.ROUNDS ?? 10); round++) {
    const requests = Array.from({ length: 8 }, randomRequest);
    const expected = await answer(plain.engine, requests);
    for (const { engine } of others) {
      for (const [i, witness] of (await answer(engine, requests)).entries()) {
        const whole = expected[i]!;
        cached += witness.end!.cachedTokens;
        // An aborted sequence has come as far as its steps were quick.
        const { isAborted } = requests[i]!;
        const count = isAborted ? Math.min(witness.events.length, whole.events.length) : whole.events.length;
        const plainly = ({ events }: Witness) => events.slice(0, count).map(({ token, logprobs }) => [token, logprobs]);
        assert.deepEqual(plainly(witness), plainly(whole), `SEED=${seed}, round ${round}`);
        if (isAborted) continue;
        const said = ({ end }: Witness) => {
          const { reason, error, promptTokens, completionTokens, promptLogprobs, embedding } = end!;
          return { reason, error, promptTokens, completionTokens, promptLogprobs, embedding };
        };
        assert.deepEqual(said(witness), said(whole), `SEED=${seed}, round ${round}`);
      }
    }
  }
  // The number depends on when adapters arrive.
  assert.ok(cached > 0, 'nothing was cached');
  assert.ok(others[1]!.engine.preemptions > 0 && others[2]!.engine.preemptions > 0, 'nobody was preempted');
  assert.ok(others[2]!.engine.speculation!.accepted > 0, 'no guess was right');
  for (const { decoder, engine } of [plain, ...others]) {
    await engine.settle();
    await decoder.release();
  }
});

test('beginnings are shared by requests with the same virtual tokens and pairs alone', { skip }, async () => {
  const { decoder, engine } = engineOf(tiny, { prefixBytes: 64 * blockBytes });
  const prompt = text(3 * kvBlock);
  const cachedOf = async (adapters: readonly AppliedAdapter[], flow = 1) => {
    const witness = engine.add(prompt, { maxTokens: 1 }, adapters, { flow, weight: 1, priority: 1 });
    await engine.drain();
    return witness.end!.cachedTokens;
  };
  const one = virtual[0]!;
  // Blocks also hold virtual tokens, which do not count as the caller's prompt.
  const shared = 3 * kvBlock - one.virtualTokens!;
  assert.deepEqual([await cachedOf([one]), await cachedOf([one])], [0, shared]);
  assert.equal(await cachedOf([one, pairs[0]!]), 0);
  assert.equal(await cachedOf([one, pairs[0]!]), shared);
  for (const other of [[], [virtual[1]!], [one, { ...pairs[0]!, scale: 1 }], [one, pairs[1]!]]) {
    assert.equal(await cachedOf(other), 0);
  }
  assert.equal(await cachedOf([one], 2), 0);
  await decoder.release();
});

test('a merge of the pairs serves beside virtual tokens', { skip }, async () => {
  const arithmetic = {
    bytesOf: (adapter: Parameters<typeof mergeMemory>[1], bits: Parameters<typeof mergeMemory>[2]) =>
      mergeMemory(tiny, adapter, bits, 'host'),
    merge: (adapter: Parameters<typeof mergeModel>[2], options: Parameters<typeof mergeModel>[3]) =>
      mergeModel(runtime, tiny, adapter, options),
  };
  const { decoder, engine } = engineOf(tiny, { prefixBytes: 64 * blockBytes }, { arithmetic, bytesMax: 2 ** 30 });
  const adapters = [pairs[0]!];
  const key = mergeKey(adapters);
  engine.engine.merge({ key, adapters, bits: 32, probes: [] });
  await engine.mergesSettled();
  const prompt = text(50);
  const params = { maxTokens: 4, logprobs: 5 };
  for (const one of virtual) {
    const runs = [];
    for (const mergeKey of [key, null]) {
      const witness = engine.add(prompt, params, [pairs[0]!, one], undefined, { mergeKey, promptLogprobs: 0 });
      await engine.drain();
      runs.push(witness);
    }
    assert.deepEqual(
      runs.map(({ end }) => end!.mergedBits),
      [32, null],
    );
    const apart = furthest(promptLogprobs(runs[0]!), promptLogprobs(runs[1]!));
    assert.ok(apart < 0.02, `${apart}`);
  }
  engine.engine.unmerge(key);
  await engine.mergesSettled();
  await engine.settle();
  await decoder.release();
});

test('what cannot be had ends its sequence alone, by a code', { skip }, async () => {
  const { decoder, engine } = engineOf(tiny, {});
  const beside = engine.add(text(20), { maxTokens: 8 });
  const one = virtual[0]!;
  const gone = { ...one, files: { ...one.files, digest: 'sha256:other', weights: '/nowhere' } };
  const asked = [gone, { ...one, virtualTokens: 3 }, { files: one.files, scale: 1 }];
  const witnesses = asked.map((adapter) => engine.add(text(5), { maxTokens: 2 }, [adapter]));
  const announced = engine.add(text(5), { maxTokens: 2 }, [{ ...pairs[0]!, virtualTokens: 5 }]);
  await engine.drain();
  assert.deepEqual(
    [...witnesses, announced].map(({ end }) => end!.error?.code),
    ['adapter_corrupt', 'adapter_unsupported', 'adapter_unsupported', 'adapter_unsupported'],
  );
  assert.equal(beside.events.length, 8);
  // Generates as long as the context has room, virtual tokens included.
  const full = engine.add(text(100), { maxTokens: 500 }, [one]);
  await engine.drain();
  assert.deepEqual([full.end!.reason, full.events.length], ['length', 160 - 100 - one.virtualTokens! + 1]);
  await engine.settle();
  await decoder.release();
});
