// Texts as vectors: through the engine, on every family's tiny model with and without an adapter, against transformers
// and PEFT; in a device's form; and beside sequences that generate, with preemptions of either.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { notOn } from '../../src/core/layer-plan.ts';
import { type Pooling, poolings } from '../../src/core/pooling.ts';
import { prng } from '../../src/core/prng.ts';
import { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import type { DecoderOptions } from '../../src/engine/runner/decoder.ts';
import type { GraphTarget } from '../../src/graph/target.ts';
import type { SequenceRequest } from '../../src/protocol/messages.ts';
import { anotherDecoder, testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered, tinyModel } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import { distance, readEmbeddings, type TextVectors } from '../parity/embeddings.ts';
import { hashedAdapter } from './adapters/hashed-adapter.ts';
import { everyModule, randomAdapter } from './adapters/random-adapters.ts';
import { hashDecoder, hiddenRow, overForward, tokensAlone } from './hash-decoder.ts';
import { tokensOf, witnessedEngine } from './witnesses.ts';

type Case = { readonly model: TinyModel; readonly modules: readonly string[] };
type Adapter = { readonly r: number; readonly scaling: number };
const references = readEmbeddings<Case, Adapter>('embeddings-tiny');
const runtime = testRuntime();
const breath = createBreath(systemClock);
const onDevice = { on: 'device', real: 'float32', hasOperators: false } as const satisfies GraphTarget;

/** An engine over the real decoder, whose adapters are read from their files. */
async function realEngine(name: TinyModel, chunk: number, options: Partial<DecoderOptions> = {}) {
  const model = await tinyLowered(name, 32);
  let wake = () => {};
  const decoder = await anotherDecoder(runtime, model, {
    ...{ rows: 4, positions: 64, pages: 16, kvType: 'float32' },
    ...{ onPagesChange: () => wake(), ...options },
  });
  const storeOf = (_: unknown, onChange: () => void) => {
    wake = onChange;
    const read: ConstructorParameters<typeof AdapterStore>[0]['read'] = ({ files }) =>
      readAdapter(files, { model, breath });
    const combine = () => assert.fail('one adapter at a time here');
    return new AdapterStore({ bytesMax: 2 ** 30, clock: systemClock, read, combine, onChange });
  };
  return { model, decoder, witnessed: witnessedEngine(decoder, chunk, storeOf) };
}

/** The largest distance of the engine's vectors, all asked for at once beside a sequence that generates. */
async function farthest(
  name: TinyModel,
  modules: readonly string[],
  texts: readonly TextVectors[],
  chunk: number,
  options: Partial<DecoderOptions> = {},
) {
  const { model, decoder, witnessed } = await realEngine(name, chunk, options);
  const files = modules.length > 0 ? [hashedAdapter(model.shape, { ...references, modules })] : [];
  const adapters = files.map((files) => ({ files, scale: 1 }));
  const beside = witnessed.add([5, 6, 7], { maxTokens: 9 });
  const asked = texts.flatMap(({ tokens, ...expected }) =>
    poolings.map((pooling) => ({
      expected: expected[pooling],
      witness: witnessed.add(tokens, {}, adapters, undefined, { pooling }),
    })),
  );
  await witnessed.drain();
  await decoder.release();
  assert.equal(beside.events.length, 9);
  const distances = asked.map(({ expected, witness: { end, events } }) => {
    assert.deepEqual([end!.reason, end!.completionTokens, events.length], ['stop', 0, 0]);
    return distance(end!.embedding!, expected);
  });
  return Math.max(...distances);
}

for (const { model, modules, texts } of references.cases) {
  const name = modules.length > 0 ? `${model} with an adapter` : model;
  const { shape } = await tinyModel(model);
  const skip = notOn(runtime.device?.name ?? 'cpu', shape) ?? false;
  test(`${name}: vectors are transformers', however prompts are cut`, { skip }, async (context) => {
    const found = [];
    for (const chunk of [7, 64]) found.push(await farthest(model, modules, texts, chunk));
    context.diagnostic(`1 - cosine up to ${Math.max(...found).toExponential(1)}`);
    assert.ok(Math.max(...found) < 1e-4, String(found));
  });
  if (runtime.device !== null || notOn('host', shape) !== null) continue;
  test(`${name}: in a device's form too`, async () => {
    const found = await farthest(model, modules, texts, 64, { target: onDevice });
    assert.ok(found < 1e-4, String(found));
  });
}

test('an adapter changes what a text is', () => {
  for (const { model, modules, texts } of references.cases) {
    if (modules.length === 0) continue;
    const base = references.cases.find((one) => one.model === model && one.modules.length === 0)!;
    const apart = texts.map(({ mean }, i) => distance(mean, base.texts[i]!.mean));
    assert.ok(Math.min(...apart) > 1e-3, `${model}: ${apart}`);
  }
});

for (const target of [undefined, onDevice]) {
  const skip = target !== undefined && runtime.device !== null;
  test(`adapters on the head and DoRA's gains: ${target ? 'a device' : 'the host'}`, { skip }, async () => {
    const { model, decoder, witnessed } = await realEngine('llama', 16, target ? { target } : {});
    const tokens = [17, 203, 44, 290, 5];
    const plan = { seed: 3, modules: everyModule, r: 5 };
    const withHead = randomAdapter(model.shape, plan);
    const dora = randomAdapter(model.shape, { ...plan, dora: true });
    const onlyHead = randomAdapter(model.shape, { ...plan, modules: ['lm_head'] });
    const ask = (files: typeof dora.files | null) =>
      witnessed.add(tokens, {}, files ? [{ files, scale: 1 }] : [], undefined, { pooling: 'mean' });
    const [base, headless, ...adapted] = [ask(null), ask(onlyHead.files), ask(withHead.files), ask(dora.files)];
    await witnessed.drain();
    await decoder.release();
    // Embeddings do not read the head, so an adapter on it changes nothing.
    assert.ok(distance(base!.end!.embedding!, headless!.end!.embedding!) < 1e-6);
    for (const { end } of adapted) assert.ok(distance(base!.end!.embedding!, end!.embedding!) > 1e-3);
  });
}

// --- without a model ---

const vocabulary = 101;

function expectedOf(tokens: readonly number[], pooling: Pooling): number[] {
  const rows = tokens.map((_, i) => hiddenRow(tokens.slice(0, i + 1), vocabulary));
  const taken = pooling === 'mean' ? rows : rows.slice(-1);
  const sum = [0, 1, 2].map((i) => taken.reduce((total, row) => total + row[i]!, 0));
  const length = Math.hypot(...sum);
  return sum.map((value) => value / length);
}

function assertVector(found: Float32Array | undefined, expected: readonly number[]): void {
  assert.ok(found && [...found].every((value, i) => Math.abs(value - expected[i]!) < 1e-6), `${found}, ${expected}`);
}

test('vectors and texts of many beside each other, where room is short and sequences give way', async () => {
  let preemptions = 0;
  for (let seed = 0; seed < 20; seed++) {
    const random = prng(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    const witnessed = witnessedEngine(
      hashDecoder(6, 256, vocabulary, 0, () => {}, 448),
      1 + below(40),
    );
    const asked = Array.from({ length: 30 }, () => {
      const tokens = Array.from({ length: 1 + below(150) }, () => below(vocabulary));
      const share = { flow: below(3), weight: 1, priority: 1 };
      const pooling = random() < 0.6 ? poolings[below(2)]! : null;
      const params = { maxTokens: 1 + below(60) };
      const rest: Partial<SequenceRequest> = pooling === null ? {} : { pooling };
      return { tokens, pooling, params, witness: witnessed.add(tokens, params, [], share, rest) };
    });
    await witnessed.drain();
    preemptions += witnessed.preemptions;
    for (const { tokens, pooling, params, witness } of asked) {
      if (pooling === null) {
        const alone = tokensAlone(tokens, vocabulary, 256).slice(0, params.maxTokens);
        assert.deepEqual(tokensOf(witness), alone);
        assert.equal(witness.end!.embedding, undefined);
      } else {
        assert.deepEqual([witness.end!.reason, witness.events.length], ['stop', 0]);
        assertVector(witness.end!.embedding, expectedOf(tokens, pooling));
      }
    }
  }
  assert.ok(preemptions > 0, 'nobody gave way');
});

test('a prompt of a whole context has its vector', async () => {
  const witnessed = witnessedEngine(hashDecoder(2, 64, vocabulary), 10);
  const tokens = Array.from({ length: 64 }, (_, i) => i);
  const whole = witnessed.add(tokens, {}, [], undefined, { pooling: 'mean' });
  await witnessed.drain();
  assertVector(whole.end!.embedding, expectedOf(tokens, 'mean'));
});

test('hidden rows that are no numbers end their own sequence', async () => {
  const inner = hashDecoder(2, 64, vocabulary);
  const witnessed = witnessedEngine(
    overForward(inner, async (batch) => {
      const rows = await inner.forward(batch);
      if (batch.result === 'hidden') rows[0] = Number.NaN;
      return rows;
    }),
    64,
  );
  const spoilt = witnessed.add([1, 2], {}, [], undefined, { pooling: 'mean' });
  const beside = witnessed.add([3, 4], {}, [], undefined, { pooling: 'mean' });
  const generated = witnessed.add([3, 4], { maxTokens: 3 });
  await witnessed.drain();
  assert.equal(spoilt.end!.error!.code, 'logits_not_finite');
  assertVector(beside.end!.embedding, expectedOf([3, 4], 'mean'));
  assert.equal(generated.events.length, 3);
});
