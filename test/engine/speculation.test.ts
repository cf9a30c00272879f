// Tokens that are computed ahead: nobody can tell but by the time and the count. SPECULATIONS=n asks n times.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { kvTokenBytes } from '../../src/core/memory-plan.ts';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { prng } from '../../src/core/prng.ts';
import { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import { PromptLookup } from '../../src/engine/loop/prompt-lookup.ts';
import type { SpeculationMode } from '../../src/engine/loop/speculation.ts';
import { draftLength } from '../../src/engine/policies/draft-length.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import { layerModules, randomAdapter } from './adapters/random-adapters.ts';
import { type Witness, type WitnessedEngine, witnessedEngine } from './witnesses.ts';

const runtime = testRuntime();
const skip = runtime.device === null ? false : 'rows of a device compute nothing ahead';
const model = await tinyLowered('llama-gguf', null);
const seed = Number(process.env.SEED ?? 5);
const random = prng(seed);
const below = (end: number) => Math.floor(random() * end);

test('what stood before is expected again, and what repeats itself goes on', () => {
  const tokens = [1, 2, 3, 4, 5, 9, 1, 2, 3];
  const lookup = new PromptLookup(tokens);
  assert.deepEqual(lookup.expected(3), [4, 5, 9]);
  assert.equal(lookup.matched, 3);
  tokens.push(4);
  assert.deepEqual(lookup.expected(2), [5, 9]);
  assert.equal(lookup.matched, 4);
  tokens.push(7);
  assert.deepEqual(lookup.expected(2), []);
  const looping = new PromptLookup([8, 1, 2, 1, 2, 1]);
  assert.deepEqual(looping.expected(5), [2, 1, 2, 1, 2]);
  assert.deepEqual(new PromptLookup([1, 2]).expected(5), []);
});

test('right guesses make the next more likely, wrong ones less, computed ahead or not', () => {
  const copied = Array.from({ length: 40 }, (_, i) => i);
  const tokens = [...copied, 100];
  const lookup = new PromptLookup(tokens);
  lookup.expected(1);
  const before = lookup.chance(4);
  for (const token of copied.slice(0, 20)) tokens.push(token);
  lookup.expected(1);
  assert.ok(lookup.chance(4) > before);
  const sure = lookup.chance(17);
  tokens.push(1000);
  lookup.expected(1);
  assert.ok(lookup.chance(17) < sure);
});

test('as much is guessed as pays', () => {
  const step = { matched: 3, rows: 1, most: 15, stepMs: (tokens: number) => 1 + 0.2 * (tokens - 1) };
  assert.equal(draftLength({ ...step, chance: () => 0.1 }), 0);
  assert.equal(draftLength({ ...step, chance: () => 1 }), 15);
  assert.equal(draftLength({ ...step, chance: () => 1, most: 0 }), 0);
  const some = draftLength({ ...step, chance: () => 0.7 });
  assert.ok(some > 1 && some < 6, `${some}`);
  // Where tokens beside cost what a step costs nothing pays.
  assert.equal(draftLength({ ...step, chance: () => 0.9, stepMs: (tokens) => tokens }), 0);
});

const positions = 160;
const blockBytes = kvTokenBytes(model.shape, 2) * kvBlock;

function engineOf(speculation: SpeculationMode) {
  const breath = createBreath(systemClock);
  // Less than all rows could hold: some are preempted.
  const memory = { kvBytes: 7 * blockBytes, prefixBytes: blockBytes };
  const decoder = createDecoder(runtime, model, { rows: 3, positions, pages: 16, ...memory });
  const store = (clock: typeof systemClock, onChange: () => void) =>
    new AdapterStore({
      ...{ bytesMax: 2 ** 30, clock, onChange },
      read: ({ files }) => readAdapter(files, { model, breath }),
      combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
    });
  return { decoder, engine: witnessedEngine(decoder, 48, store, { speculation }) };
}

const adapters = [1, 2].map((seed) => ({
  files: randomAdapter(model.shape, { seed, modules: layerModules, r: 8 }).files,
  scale: 0.5,
}));

/** A few tokens alone are allowed, so that much repeats itself, and still much is drawn otherwise. */
function randomRequest() {
  const allowedTokens = Array.from({ length: 2 + below(4) }, () => below(model.shape.vocabulary));
  const pick = () => allowedTokens[below(allowedTokens.length)]!;
  const which = below(3);
  return {
    prompt: Array.from({ length: 1 + below(70) }, pick),
    params: {
      maxTokens: 1 + below(60),
      temperature: below(2) === 0 ? 0 : 0.5 + random(),
      topP: below(3) === 0 ? 0.8 : 1,
      seed: below(1000),
      allowedTokens: below(4) === 0 ? null : allowedTokens,
      stopTokens: below(3) === 0 ? [pick()] : [],
      minTokens: below(3) === 0 ? 8 : 0,
      repetitionPenalty: below(4) === 0 ? 1.1 : 1,
      logprobs: below(2) === 0 ? 1 : null,
    },
    adapters: which === 0 ? [] : [adapters[which - 1]!],
    share: { flow: below(2), weight: 1, priority: 1 },
    steps: below(12),
    abortAfter: below(8) === 0 ? below(20) : null,
  };
}

async function answer(engine: WitnessedEngine, requests: readonly ReturnType<typeof randomRequest>[]) {
  const aborts: Witness[] = [];
  const witnesses: Witness[] = [];
  for (const { prompt, params, adapters: applied, share, steps, abortAfter } of requests) {
    const witness = engine.add(prompt, params, applied, share);
    witnesses.push(witness);
    for (let i = 0; i < steps && !engine.engine.idle; i++) {
      await engine.turn();
      if (i !== abortAfter) continue;
      engine.engine.abort(witness.request.id);
      aborts.push(witness);
    }
  }
  await engine.drain();
  return { witnesses, aborts };
}

test('with and without guesses the text is the same, drawn or greedy, whatever comes when', { skip }, async () => {
  const [always, never] = [engineOf('always'), engineOf('never')];
  const rounds = Math.ceil(Number(process.env.SPECULATIONS ?? 240) / 4);
  for (let round = 0; round < rounds; round++) {
    const requests = Array.from({ length: 4 }, randomRequest);
    const [with_, without] = [await answer(always.engine, requests), await answer(never.engine, requests)];
    for (const [i, witness] of with_.witnesses.entries()) {
      const other = without.witnesses[i]!;
      const isAborted = with_.aborts.includes(witness) || without.aborts.includes(other);
      // Who is aborted has come as far as the steps were quick.
      const count = isAborted ? Math.min(witness.events.length, other.events.length) : other.events.length;
      const plain = ({ events }: Witness) => events.slice(0, count).map(({ token, logprobs }) => ({ token, logprobs }));
      assert.deepEqual(plain(witness), plain(other), `SEED=${seed}, round ${round}`);
      if (isAborted) continue;
      assert.equal(witness.events.length, count);
      const { reason, stopToken, completionTokens } = witness.end!;
      assert.deepEqual(
        [reason, stopToken, completionTokens],
        [...[other.end!.reason, other.end!.stopToken, other.end!.completionTokens]],
      );
    }
  }
  await always.engine.settle();
  assert.ok(always.engine.preemptions > 0 && never.engine.preemptions > 0, 'nobody was preempted');
  const { drafted, accepted } = always.engine.speculation!;
  assert.ok(accepted > rounds && drafted - accepted > rounds, `${accepted} of ${drafted} guesses were right`);
  for (const { decoder } of [always, never]) await decoder.release();
});

test('a sequence beside two others guesses nothing, nor does one with a grammar or in its prompt', {
  skip,
}, async () => {
  const { decoder, engine } = engineOf('always');
  const looping = Array.from({ length: 20 }, (_, i) => i % 2);
  const params = { maxTokens: 20, allowedTokens: [0, 1] };
  for (let i = 0; i < 3; i++) engine.add(looping, params);
  while (engine.witnesses.every(({ end }) => end === null)) await engine.turn();
  assert.equal(engine.speculation!.drafted, 0);
  await engine.drain();
  engine.add(looping, params);
  await engine.drain();
  assert.ok(engine.speculation!.drafted > 0);
  await decoder.release();
});
