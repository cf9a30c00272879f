// An adapter that is dropped from memory: nothing keeps it there, and when it comes back it is right.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '../../../src/core/clock.ts';
import { AdapterStore } from '../../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import type { ResidentAdapter } from '../../../src/engine/adapters/resident-adapter.ts';
import type { Decoder } from '../../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../../src/engine/runner/forward-batch.ts';
import type { LoweredModel } from '../../../src/graph/lowered.ts';
import { anotherDecoder, testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import { tokensOf, witnessedEngine } from '../witnesses.ts';
import { everyModule, layerModules, randomAdapter } from './random-adapters.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const breath = createBreath(systemClock);
const runtime = testRuntime();
const rows = 3;

/** Whether the adapter is collected within a few turns and collections. */
async function isGone(adapter: WeakRef<object>): Promise<boolean> {
  for (let i = 0; i < 20 && adapter.deref() !== undefined; i++) {
    await nextTurn();
    collectGarbage();
  }
  return adapter.deref() === undefined;
}

/** Prefills and decodes one row, and returns the logits of both. */
async function run(decoder: Decoder, adapter: ResidentAdapter, first: number): Promise<Float32Array[]> {
  const placement = decoder.pages.place(adapter)!;
  await placement.copied;
  const adapters = [{ adapter, placement, scale: 1 }];
  const prompt = { kind: 'prompt', first, pasts: [0], tokens: [5, 6, 7], sampled: [2], adapters } as const;
  const prefilled = (await decoder.forward(evenBatch(prompt))).slice();
  // Rows of a decode step begin at row 0.
  if (first !== 0) await decoder.forward(evenBatch({ ...prompt, first: 0 }));
  const step = { kind: 'answer', first: 0, pasts: [3], tokens: [8], sampled: [0], adapters } as const;
  const decoded = (await decoder.forward(evenBatch(step))).slice();
  decoder.pages.release(placement);
  return [prefilled, decoded];
}

const plan = { seed: 1, modules: everyModule, r: 8, dora: true } as const;

test('bindings and pages do not keep an adapter, and it comes back as it was', async () => {
  const model = await tinyLowered('llama', 32);
  const decoder = await anotherDecoder(runtime, model, { rows, positions: 32, pages: 2 });
  const { files } = randomAdapter(model.shape, plan);
  const read = () => readAdapter(files, { model, breath });
  const use = async () => {
    const adapter = await read();
    const logits = [];
    for (let row = 0; row < rows; row++) logits.push(await run(decoder, adapter, row));
    return {
      logits,
      weights: new WeakRef(adapter.linears.get('qkv')!.parts[0]!.a.buffer),
      adapter: new WeakRef(adapter),
    };
  };
  const first = await use();
  assert.ok((await isGone(first.weights)) && (await isGone(first.adapter)));

  const again = await use();
  assert.deepEqual(again.logits, first.logits);
  // The same after other adapters were in its pages and bindings.
  for (const seed of [2, 3]) {
    const other = await readAdapter(randomAdapter(model.shape, { seed, modules: layerModules, r: 16 }).files, {
      model,
      breath,
    });
    for (let row = 0; row < rows; row++) await run(decoder, other, row);
  }
  assert.deepEqual((await use()).logits, first.logits);
  decoder.release();
});

function storeOf(model: LoweredModel, bytesMax: number, onChange: () => void): AdapterStore {
  return new AdapterStore({
    bytesMax,
    clock: systemClock,
    read: ({ files }) => readAdapter(files, { model, breath }),
    combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
    onChange,
  });
}

test('an engine whose memory holds one adapter serves ten in turns, each as it is alone', async () => {
  const model = await tinyLowered('llama', 32);
  let wake = () => {};
  const options = { rows, positions: 48, pages: 4, onPagesChange: () => wake() };
  const decoder = await anotherDecoder(runtime, model, options);
  const adapters = Array.from({ length: 10 }, (_, i) => {
    const { files } = randomAdapter(model.shape, { seed: 10 + i, modules: layerModules, r: 4 + i });
    return { files, scale: 1 };
  });
  const generate = async (bytesMax: number, rounds: number) => {
    let store: AdapterStore | undefined;
    const witnessed = witnessedEngine(decoder, 64, (_, onChange) => {
      store = storeOf(model, bytesMax, onChange);
      return store;
    });
    wake = witnessed.wake;
    for (let round = 0; round < rounds; round++) {
      for (const adapter of adapters) witnessed.add([1, 2, 3], { maxTokens: 6 }, [adapter]);
    }
    await witnessed.drain();
    assert.ok(store!.residentBytes <= bytesMax);
    return { tokens: witnessed.witnesses.map(tokensOf), evictions: witnessed.evictions };
  };
  const roomy = await generate(2 ** 30, 1);
  const { bytes } = await readAdapter(adapters[9]!.files, { model, breath });
  const tight = await generate(bytes, 3);
  assert.equal(roomy.evictions, 0);
  assert.ok(tight.evictions > 20, `${tight.evictions}`);
  assert.deepEqual(tight.tokens, [...roomy.tokens, ...roomy.tokens, ...roomy.tokens]);
  decoder.release();
});
