// Speculative decoding: only times and counts show it. SPECULATIONS=n makes n requests.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { AppliedAdapter } from '../../../src/core/adapter.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { kvTokenBytes } from '../../../src/core/memory-plan.ts';
import { kvBlock } from '../../../src/core/page-sizes.ts';
import { prng } from '../../../src/core/prng.ts';
import { AdapterStore } from '../../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import type { SpeculationMode } from '../../../src/engine/loop/drafter.ts';
import { draftLength } from '../../../src/engine/policies/draft-length.ts';
import { createDecoder } from '../../../src/engine/runner/decoder.ts';
import { testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import { layerModules, randomAdapter } from '../adapters/random-adapters.ts';
import { type Witness, type WitnessedEngine, witnessedEngine } from '../witnesses.ts';

const runtime = testRuntime();
const skip = runtime.device === null ? false : 'rows of a device compute nothing ahead';
const model = await tinyLowered('llama-gguf', null);
const seed = Number(process.env.SEED ?? 5);
const random = prng(seed);
const below = (end: number) => Math.floor(random() * end);

test('as much is guessed as pays', () => {
  const step = { rows: 1, stepMs: (tokens: number) => 1 + 0.2 * (tokens - 1) };
  const chances = (chance: number) => Array.from({ length: 15 }, () => chance);
  assert.deepEqual(draftLength({ ...step, chances: chances(0.1) }), { length: 0, gain: 1 });
  assert.equal(draftLength({ ...step, chances: chances(1) }).length, 15);
  assert.equal(draftLength({ ...step, chances: [] }).length, 0);
  const { length, gain } = draftLength({ ...step, chances: chances(0.7) });
  assert.ok(length > 1 && length < 6 && gain > 1.1, `${length}, ${gain}`);
  // Where additional tokens cost as much as a step, nothing pays.
  assert.equal(draftLength({ ...step, chances: chances(0.9), stepMs: (tokens) => tokens }).length, 0);
});

const positions = 160;
const blockBytes = kvTokenBytes(model.shape, 2) * kvBlock;

/** @param pastTextBytes few enough that shelves are given up */
function engineOf(speculation: SpeculationMode, pastTextBytes = 48 * 1024) {
  const breath = createBreath(systemClock);
  // Less than all rows could hold, so that some are preempted.
  const memory = { kvBytes: 7 * blockBytes, prefixBytes: blockBytes };
  const decoder = createDecoder(runtime, model, { rows: 3, positions, pages: 16, ...memory });
  const store = (clock: typeof systemClock, onChange: () => void) =>
    new AdapterStore({
      ...{ bytesMax: 2 ** 30, clock, onChange },
      read: ({ files }) => readAdapter(files, { model, breath }),
      combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
    });
  return { decoder, engine: witnessedEngine(decoder, 48, store, { speculation, pastTextBytes }) };
}

const adapters = [1, 2].map((seed) => ({
  files: randomAdapter(model.shape, { seed, modules: layerModules, r: 8 }).files,
  scale: 0.5,
}));

/** Only a few tokens are allowed, so that much repeats itself and much is still drawn otherwise. */
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
    more: below(4) === 0 ? { cacheSalt: 'own' } : {},
    steps: below(12),
    abortAfter: below(8) === 0 ? below(20) : null,
  };
}

async function answer(engine: WitnessedEngine, requests: readonly ReturnType<typeof randomRequest>[]) {
  const aborts: Witness[] = [];
  const witnesses: Witness[] = [];
  for (const { prompt, params, adapters: applied, share, more, steps, abortAfter } of requests) {
    const witness = engine.add(prompt, params, applied, share, more);
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
  const asked: ReturnType<typeof randomRequest>[] = [];
  const rounds = Math.ceil(Number(process.env.SPECULATIONS ?? 240) / 4);
  for (let round = 0; round < rounds; round++) {
    // Earlier requests are repeated, beside others and cut off elsewhere.
    const again = () => ({ ...asked[below(asked.length)]!, steps: below(12), abortAfter: null });
    const requests = Array.from({ length: 4 }, () => (asked.length > 0 && below(3) === 0 ? again() : randomRequest()));
    asked.push(...requests);
    const [with_, without] = [await answer(always.engine, requests), await answer(never.engine, requests)];
    for (const [i, witness] of with_.witnesses.entries()) {
      const other = without.witnesses[i]!;
      const isAborted = with_.aborts.includes(witness) || without.aborts.includes(other);
      // An aborted sequence has come as far as its steps were quick.
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

test('an answer is guessed from earlier ones of the same tenant, user and weights alone', { skip }, async () => {
  const { decoder, engine } = engineOf('always', 2 ** 20);
  const prompt = Array.from({ length: 20 }, () => below(model.shape.vocabulary));
  // Drawn text over so many tokens hardly repeats itself.
  const params = { maxTokens: 60, temperature: 2, seed: 7 };
  const ask = async (flow: number, applied: readonly AppliedAdapter[] = [], cacheSalt: string | null = null) => {
    const before = engine.speculation ?? { drafted: 0, accepted: 0 };
    engine.add(prompt, params, applied, { flow, weight: 1, priority: 1 }, cacheSalt === null ? {} : { cacheSalt });
    await engine.drain();
    const { drafted, accepted } = engine.speculation!;
    return { drafted: drafted - before.drafted, accepted: accepted - before.accepted };
  };
  const first = await ask(1);
  const again = await ask(1);
  assert.ok(again.accepted > first.accepted + 40, `${again.accepted} of ${again.drafted}, at first ${first.accepted}`);
  // For another tenant or user it is as new as it was for the first.
  assert.deepEqual(await ask(2), first);
  assert.deepEqual(await ask(1, [], 'one'), first);
  assert.deepEqual(await ask(1, [], 'two'), first);
  assert.ok((await ask(1, [], 'one')).accepted > first.accepted + 40);
  // Other weights have a shelf of their own, which is empty.
  const adapted = await ask(1, [adapters[0]!]);
  const other = await ask(3, [adapters[0]!]);
  assert.deepEqual(adapted, other);
  await decoder.release();
});

test('without memory for earlier answers a sequence is guessed from its own tokens', { skip }, async () => {
  const { decoder, engine } = engineOf('always', 0);
  const looping = Array.from({ length: 20 }, (_, i) => i % 2);
  engine.add(looping, { maxTokens: 20, allowedTokens: [0, 1] });
  await engine.drain();
  const { drafted, pastTextBytes } = engine.speculation!;
  assert.ok(drafted > 0);
  assert.equal(pastTextBytes, 0);
  await decoder.release();
});
