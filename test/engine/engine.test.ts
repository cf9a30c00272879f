// The step loop over a decoder without arithmetic: who runs, who ends, when, and what events tell of it.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { Decoder } from '../../src/engine/runner/decoder.ts';
import { hashDecoder, nextToken, overForward } from './hash-decoder.ts';
import { tokensOf, type WitnessedEngine, witnessedEngine } from './witnesses.ts';

const vocabulary = 101;
const open = (rows: number, prefillChunk = 64, positions = 64) =>
  witnessedEngine(hashDecoder(rows, positions, vocabulary), prefillChunk);

/** Calls `during` in the middle of every forward. */
function interrupted(rows: number, during: (forwards: number) => void): WitnessedEngine {
  const decoder = hashDecoder(rows, 64, vocabulary);
  let forwards = 0;
  const forward: Decoder['forward'] = async (batch) => {
    const logits = decoder.forward(batch);
    during(++forwards);
    return logits;
  };
  return witnessedEngine(overForward(decoder, forward), 64);
}

test('an abort frees the slot in the next step, and the next in the queue starts in it', async () => {
  const witnessed = open(1);
  const first = witnessed.add([1, 2], { maxTokens: 50 });
  const second = witnessed.add([3], { maxTokens: 2 });
  await witnessed.step();
  witnessed.engine.abort(0);
  const { ended, started, stats } = await witnessed.step();
  assert.deepEqual([ended.map(({ id, reason }) => [id, reason]), started], [[[0, 'abort']], [1]]);
  assert.equal(stats.running, 1);
  assert.equal(first.events.length, 1);
  await witnessed.drain();
  assert.equal(second.end!.reason, 'length');
});

test('aborts: of one that waits, in the middle of a forward, twice, and of nobody', async () => {
  const witnessed = interrupted(1, (forwards) => {
    if (forwards === 2) for (let i = 0; i < 2; i++) witnessed.engine.abort(0);
  });
  const running = witnessed.add([1, 2], { maxTokens: 50 });
  const waiting = witnessed.add([3], { maxTokens: 5 });
  await witnessed.step();
  witnessed.engine.abort(1);
  witnessed.engine.abort(99);
  await witnessed.step();
  assert.deepEqual([waiting.end!.reason, waiting.started, waiting.events.length], ['abort', false, 0]);
  await witnessed.step();
  assert.deepEqual([running.end!.reason, running.events.length], ['abort', 2]);
  assert.ok(witnessed.engine.idle);
});

test('who ends by itself in the step of its abort ends once, and by itself', async () => {
  const witnessed = interrupted(1, () => witnessed.engine.abort(0));
  const witness = witnessed.add([1, 2], { maxTokens: 1 });
  await witnessed.drain();
  assert.deepEqual([witness.end!.reason, witness.events.length], ['length', 1]);
  await witnessed.turn();
  assert.ok(witnessed.engine.idle);
});

test('what is asked back is given back where it waits; what has begun, or is not known, goes on', async () => {
  const witnessed = open(1);
  const running = witnessed.add([1, 2], { maxTokens: 4 });
  const waiting = witnessed.add([3], { maxTokens: 2 });
  const other = witnessed.add([4], { maxTokens: 2 });
  await witnessed.step();
  for (const id of [0, 1, 77]) witnessed.engine.release(id);
  const { released, ended, stats } = await witnessed.step();
  assert.deepEqual([released, ended.length, stats.running, stats.waiting], [[1], 0, 1, 1]);
  await witnessed.drain();
  assert.deepEqual([running.end!.reason, other.end!.reason], ['length', 'length']);
  assert.deepEqual([waiting.end, waiting.started, waiting.events.length], [null, false, 0]);
  witnessed.engine.release(5);
  assert.equal(witnessed.engine.idle, false);
  await witnessed.engine.step();
  assert.ok(witnessed.engine.idle);
  witnessed.engine.checkIntegrity();
});

test('an abort before the first step ends it without a forward', async () => {
  const witnessed = interrupted(1, () => assert.fail('nothing was to be computed'));
  const witness = witnessed.add([1], {});
  witnessed.engine.abort(0);
  await witnessed.drain();
  assert.equal(witness.end!.reason, 'abort');
});

test('a context that is full ends a sequence with its length; the last token needs no place', async () => {
  const positions = 16;
  for (const length of [1, 15, 16]) {
    const witnessed = open(2, 64, positions);
    const prompt = Array.from({ length }, (_, i) => i);
    const witness = witnessed.add(prompt, { maxTokens: 1000 });
    await witnessed.drain();
    assert.deepEqual([witness.end!.reason, witness.events.length], ['length', positions + 1 - length]);
  }
});

test('a stop token ends a sequence, is named, and is no part of the output', async () => {
  const prompt = [5, 6];
  const second = nextToken([...prompt, nextToken(prompt, vocabulary)], vocabulary);
  const witnessed = open(1);
  const witness = witnessed.add(prompt, { stopTokens: [second], maxTokens: 9 });
  await witnessed.drain();
  assert.deepEqual(tokensOf(witness), [nextToken(prompt, vocabulary)]);
  const { reason, stopToken, promptTokens, completionTokens } = witness.end!;
  assert.deepEqual([reason, stopToken, promptTokens, completionTokens], ['stop', second, 2, 1]);
});

test('a long prompt takes several steps, and those that decode lose none of them', async () => {
  const witnessed = open(2, 4);
  witnessed.add([1], { maxTokens: 60 });
  await witnessed.step();
  const long = witnessed.add(Array(13).fill(2), { maxTokens: 1 });
  const steps = [];
  while (!long.end) steps.push((await witnessed.step()).tokens.map(({ id }) => id));
  // One of the step's four tokens belongs to the other sequence.
  assert.deepEqual(steps, [[0], [0], [0], [0], [0, 1]]);
});

test('short prompts share a step’s budget in the order of their coming', async () => {
  const witnessed = open(4, 5);
  for (const length of [2, 2, 2, 2]) witnessed.add(Array(length).fill(3), { maxTokens: 1 });
  const ended = [];
  while (!witnessed.engine.idle) ended.push((await witnessed.step()).ended.map(({ id }) => id));
  assert.deepEqual(ended, [
    [0, 1],
    [2, 3],
  ]);
});

test('times are those of the clock: in the queue, to the first token, and after it', async () => {
  const forwardMs = 10;
  const witnessed = interrupted(1, () => witnessed.time.advance(forwardMs));
  const first = witnessed.add([1, 2, 3], { maxTokens: 3 });
  const second = witnessed.add([4], { maxTokens: 1 });
  witnessed.time.advance(5);
  await witnessed.drain();
  assert.deepEqual(first.end!.timings, { queueMs: 5, prefillMs: forwardMs, decodeMs: 2 * forwardMs });
  assert.deepEqual(second.end!.timings, { queueMs: 5 + 3 * forwardMs, prefillMs: forwardMs, decodeMs: 0 });
});

test('statistics count rows, the queue, the pool and steps', async () => {
  const witnessed = interrupted(2, () => witnessed.time.advance(10));
  for (let i = 0; i < 3; i++) witnessed.add([1, 2, 3, 4], { maxTokens: 9 });
  const { adapters: _, ...stats } = (await witnessed.step()).stats;
  const merges = { merged: 0, bytes: 0, running: 0 };
  const first = { running: 2, waiting: 1, kvUsage: 64 / 128, preemptions: 0, steps: 1, stepMs: 10 };
  assert.deepEqual(stats, { ...first, stepTokens: 8, merges });
  assert.equal((await witnessed.step()).stats.stepTokens, 2);
});

test('log-probabilities are of the model, not of what biases make of it', async () => {
  const witnessed = open(1);
  const witness = witnessed.add([1], { maxTokens: 1, logprobs: 1, logitBias: [[7, 100]] });
  await witnessed.drain();
  const [event] = witness.events;
  const total = Math.log(vocabulary - 1 + Math.E);
  assert.equal(event!.token, 7);
  assert.ok(Math.abs(event!.logprobs!.logprob - (0 - total)) < 1e-6);
  assert.equal(event!.logprobs!.top[0]![0], nextToken([1], vocabulary));
});

test('a row whose logits are no numbers ends by itself, and the others go on', async () => {
  const decoder = hashDecoder(3, 16, vocabulary);
  const spoiled = 9;
  const forward: typeof decoder.forward = async (batch) => {
    const logits = await decoder.forward(batch);
    const rows = batch.parts.flatMap(({ sampled, tokens }) => sampled.map(() => tokens));
    for (const [i, tokens] of rows.entries()) {
      if (tokens.includes(spoiled)) logits.fill(Number.NaN, i * vocabulary, (i + 1) * vocabulary);
    }
    return logits;
  };
  const witnessed = witnessedEngine(overForward(decoder, forward), 8);
  const [good, bad, another] = [[1], [spoiled], [2, 3]].map((prompt) => witnessed.add(prompt, { maxTokens: 4 }));
  await witnessed.drain();
  assert.deepEqual([bad!.end!.reason, bad!.end!.error?.code], ['error', 'logits_not_finite']);
  for (const { end } of [good!, another!]) assert.equal(end!.error, undefined);
});
