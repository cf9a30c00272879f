// Prompts with common beginnings: what is not computed again, and that only times and counts show it.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../src/core/clock.ts';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { prng } from '../../src/core/prng.ts';
import { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import { PrefixCache, PrefixChain } from '../../src/engine/kv/prefix-cache.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import { layerModules, randomAdapter } from './adapters/random-adapters.ts';
import { type Witness, witnessedEngine } from './witnesses.ts';

const runtime = testRuntime();
const hasLongBlocks = runtime.device?.blocks === 'runtime' && 'blocks are longer than these texts';
const skip = hasLongBlocks || (runtime.device?.blocks === null && 'rows of a device begin empty');
const model = await tinyLowered('llama-gguf', null);
const random = prng(11);
const text = (length: number) => Array.from({ length }, () => Math.floor(random() * model.shape.vocabulary));
const share = (flow: number) => ({ flow, weight: 1, priority: 1 });

test('a chain is known by what computes it, by its tokens and by their order', () => {
  const tokens = text(3 * kvBlock + 5);
  const chain = new PrefixChain(['base'], 'a', tokens, tokens.length);
  assert.equal(chain.key(2), new PrefixChain(['base'], 'b', tokens, tokens.length).key(2));
  assert.notEqual(chain.key(0), new PrefixChain(['other'], 'a', tokens, tokens.length).key(0));
  const changed = tokens.with(0, (tokens[0]! + 1) % model.shape.vocabulary);
  assert.notEqual(chain.key(2), new PrefixChain(['base'], 'a', changed, tokens.length).key(2));
  assert.throws(() => chain.key(3), RangeError);
  // Tokens of an answer have other bits than the same tokens in a prompt, while those before them have the same.
  const answered = new PrefixChain(['base'], 'a', tokens, kvBlock + 1);
  assert.deepEqual(
    [0, 1].map((i) => answered.key(i) === chain.key(i)),
    [true, false],
  );
});

test('the cache against a plain model: what it knows lies where it says, and an owner keeps its share', () => {
  const step = fc.record({
    owner: fc.constantFrom('a', 'b', 'c'),
    text: fc.nat(4),
    count: fc.integer({ min: 1, max: 4 }),
  });
  const texts = Array.from({ length: 5 }, () => text(4 * kvBlock));
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9 }), fc.array(step, { maxLength: 60 }), (blocksMax, steps) => {
      /** What lies in a block that the cache knows. */
      const lies = new Map<number, string>();
      const cache = new PrefixCache({ blocksMax, onForget: (block) => assert.ok(lies.delete(block)) });
      let next = 0;
      for (const { owner, text: which, count } of steps) {
        const chain = new PrefixChain([owner], owner, texts[which]!, 4 * kvBlock);
        const found = cache.find(chain, count);
        for (const [i, block] of found.entries()) assert.equal(lies.get(block), chain.key(i));
        for (let i = found.length; i < count; i++) {
          const block = next++;
          lies.set(block, chain.key(i));
          if (!cache.add(chain, i, block)) lies.delete(block);
        }
        assert.equal(cache.size, lies.size);
        assert.ok(cache.size <= blocksMax);
      }
    }),
    { numRuns: 300 },
  );
});

test('an owner that floods the cache gives up its own blocks first', () => {
  const cache = new PrefixCache({ blocksMax: 8, onForget: () => {} });
  const modest = new PrefixChain([], 'modest', text(2 * kvBlock), 2 * kvBlock);
  for (let i = 0; i < 2; i++) cache.add(modest, i, i);
  for (let which = 0; which < 50; which++) {
    const chain = new PrefixChain([which], 'greedy', text(kvBlock), kvBlock);
    cache.add(chain, 0, 10 + which);
  }
  assert.deepEqual(cache.find(modest, 2), [0, 1]);
});

const positions = 160;
const prefixBytes = 4 * 2 ** 20;

async function engines() {
  const breath = createBreath(systemClock);
  const make = (bytes: number) => {
    const decoder = createDecoder(runtime, model, { rows: 4, positions, pages: 16, prefixBytes: bytes });
    const store = (clock: typeof systemClock, onChange: () => void) =>
      new AdapterStore({
        ...{ bytesMax: 2 ** 30, clock, onChange },
        read: ({ files }) => readAdapter(files, { model, breath, onDevice: runtime.device !== null }),
        combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
      });
    return { decoder, engine: witnessedEngine(decoder, 48, store) };
  };
  return [make(prefixBytes), make(0)] as const;
}

test('cache on and cache off give the same tokens and log-probabilities, whatever comes when', { skip }, async () => {
  const [on, off] = await engines();
  const adapters = [1, 2].map((seed) => ({
    files: randomAdapter(model.shape, { seed, modules: layerModules, r: 8 }).files,
    scale: 0.5,
  }));
  const systems = [text(70), text(100)];
  let cached = 0;
  const request = () => {
    const system = systems[Math.floor(random() * systems.length)]!;
    const kept = Math.floor(random() * (system.length + 1));
    const which = Math.floor(random() * 3);
    return {
      prompt: [...system.slice(0, kept), ...text(1 + Math.floor(random() * 30))],
      params: { maxTokens: 1 + Math.floor(random() * 6), logprobs: 2 },
      adapters: which === 0 ? [] : [adapters[which - 1]!],
      share: share(Math.floor(random() * 2)),
      waits: random() < 0.3,
    };
  };
  for (let round = 0; round < 12; round++) {
    const requests = Array.from({ length: 12 }, request);
    const results: Witness[][] = [];
    for (const { engine } of [on, off]) {
      const witnesses: Witness[] = [];
      for (const { prompt, params, adapters: applied, share: of, waits } of requests) {
        witnesses.push(engine.add(prompt, params, applied, of));
        if (waits) await engine.turn();
      }
      await engine.drain();
      results.push(witnesses);
    }
    for (const [i, witness] of results[0]!.entries()) {
      const other: Witness = results[1]![i]!;
      assertSame(witness.events, other.events);
      assert.equal(witness.end!.reason, other.end!.reason);
      assert.equal(other.end!.cachedTokens, 0);
      cached += witness.end!.cachedTokens;
    }
  }
  assert.ok(cached > 1000, `${cached} tokens were cached`);
  for (const { decoder } of [on, off]) await decoder.release();
});

/** A device's products are cut by the number of rows, so the last bits of log-probabilities may differ there. */
function assertSame(found: Witness['events'], expected: Witness['events']): void {
  if (runtime.device === null) {
    assert.deepEqual(found, expected);
    return;
  }
  assert.deepEqual(
    found.map(({ token }) => token),
    expected.map(({ token }) => token),
  );
  for (const [i, { logprobs }] of found.entries()) {
    const other = expected[i]!.logprobs!.logprob;
    assert.ok(Math.abs(logprobs!.logprob - other) < 1e-3, `${logprobs!.logprob}, ${other}`);
  }
}

test('who shares a beginning: the same weights, the same flow, the same salt', { skip }, async () => {
  const [{ decoder, engine }, { decoder: other }] = await engines();
  const prompt = text(100);
  const ask = async (of = share(1), more: { cacheSalt?: string; promptLogprobs?: number } = {}) => {
    const witness = engine.add(prompt, { maxTokens: 2 }, [], of, more);
    await engine.drain();
    return witness.end!.cachedTokens;
  };
  assert.equal(await ask(), 0);
  assert.equal(await ask(), 3 * kvBlock);
  assert.equal(await ask(share(2)), 0);
  assert.equal(await ask(share(1), { cacheSalt: 'x' }), 0);
  assert.equal(await ask(share(1), { cacheSalt: 'x' }), 3 * kvBlock);
  assert.equal(await ask(share(1), { promptLogprobs: 0 }), 0);
  for (const each of [decoder, other]) await each.release();
});

test('choices of one prompt compute it once', { skip }, async () => {
  const [{ decoder, engine }, { decoder: other }] = await engines();
  const prompt = text(130);
  const witnesses = Array.from({ length: 4 }, (_, seed) => engine.add(prompt, { maxTokens: 3, seed, temperature: 1 }));
  await engine.drain();
  assert.deepEqual(
    witnesses.map(({ end }) => end!.cachedTokens),
    [0, 128, 128, 128],
  );
  for (const each of [decoder, other]) await each.release();
});
