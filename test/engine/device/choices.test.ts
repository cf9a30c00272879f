// Tokens that are chosen from the best logits of a device are those that are chosen from whole rows, and rows are
// fetched only where they decide.

import assert from 'node:assert/strict';
import test from 'node:test';
import { defaultSamplingParams, type SamplingParams } from '../../../src/core/sampling-params.ts';
import { createDecoder, type Decoder } from '../../../src/engine/runner/decoder.ts';
import type { TokenLogprobs } from '../../../src/protocol/messages.ts';
import { testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import { overForward } from '../hash-decoder.ts';
import { witnessedEngine } from '../witnesses.ts';

const maxTokens = 12;
const runtime = testRuntime();
const model = await tinyLowered('llama-gguf', 32);
const decoder = createDecoder(runtime, model, { rows: 4, positions: 64, target: { on: 'device', real: 'float32' } });

/** Counts the rows that were fetched whole, and the decode steps that gave their best logits. */
function counted() {
  const counts = { fetched: 0, steps: 0 };
  const logitsOf: Decoder['logitsOf'] = async (batch, temperatures) => {
    const { rows, whole } = await decoder.logitsOf(batch, temperatures);
    if (batch.parts.every(({ kind }) => kind === 'answer')) counts.steps++;
    return {
      rows,
      whole(wanted) {
        counts.fetched += wanted.length;
        return whole(wanted);
      },
    };
  };
  return { counts, decoder: { ...decoder, logitsOf } };
}

async function generate(on: Decoder, all: readonly Partial<SamplingParams>[]) {
  const witnessed = witnessedEngine(on, 16);
  const witnesses = all.map((params, i) =>
    witnessed.add([1 + i, 5, 9 + i], { ...defaultSamplingParams, seed: 40 + i, maxTokens, ...params }),
  );
  await witnessed.drain();
  return witnesses.map(({ events }) => events);
}

/** Sampling parameters of each request, and whether the best logits are enough for them. */
const asked: readonly (readonly [Partial<SamplingParams>, boolean])[] = [
  [{ temperature: 0 }, true],
  [{ temperature: 1.5, topK: 40 }, true],
  [{ temperature: 0.8, topP: 0.7 }, true],
  [{ temperature: 1, minP: 0.2 }, true],
  [{ temperature: 0, logprobs: 5 }, true],
  [{ temperature: 1, topK: 8, logprobs: 20 }, true],
  [{ temperature: 0, repetitionPenalty: 1.5, logprobs: 2 }, false],
  [{ temperature: 0, frequencyPenalty: 1, presencePenalty: 0.5 }, false],
  [{ temperature: 1, topK: 5, logitBias: [[7, 20]] }, false],
];

test('alone and in company, the same tokens and log-probabilities as from whole rows', async () => {
  const wanted = await generate(
    overForward(decoder, decoder.forward),
    asked.map(([params]) => params),
  );
  const together = await generate(
    decoder,
    asked.map(([params]) => params),
  );
  for (const [i, [params, isEnough]] of asked.entries()) {
    const { counts, decoder: on } = counted();
    const events = (await generate(on, [...asked.slice(0, i).map(() => ({ maxTokens: 1 })), params])).at(-1)!;
    for (const found of [events, together[i]!]) {
      assert.deepEqual(
        found.map(({ token }) => token),
        wanted[i]!.map(({ token }) => token),
        JSON.stringify(params),
      );
      for (const [at, { logprobs }] of found.entries()) near(logprobs, wanted[i]![at]!.logprobs);
    }
    assert.equal(counts.fetched > 0, !isEnough, JSON.stringify(params));
    assert.ok(counts.steps >= maxTokens - 1);
  }
});

function near(found: TokenLogprobs | undefined, wanted: TokenLogprobs | undefined): void {
  assert.equal(found === undefined, wanted === undefined);
  if (!found || !wanted) return;
  assert.deepEqual(
    found.top.map(([token]) => token),
    wanted.top.map(([token]) => token),
  );
  const pairs = [[found.logprob, wanted.logprob], ...found.top.map(([, logprob], i) => [logprob, wanted.top[i]![1]])];
  for (const [one, other] of pairs) assert.ok(Math.abs(one! - other!) < 1e-4, `${one} for ${other}`);
}

test('a seed draws the same at a high temperature, where rows are fetched now and then', async () => {
  const [one, other] = [counted(), counted()];
  const hot = [
    { temperature: 2, topK: 0, topP: 1 },
    { temperature: 2, topP: 0.999 },
  ];
  assert.deepEqual(await generate(one.decoder, hot), await generate(other.decoder, hot));
  assert.ok(one.counts.fetched > 0);
});
