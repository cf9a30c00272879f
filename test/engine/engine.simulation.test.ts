import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { isSlow, testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import { hashDecoder, tokensAlone } from './hash-decoder.ts';
import { type StormReport, storm } from './storm.ts';
import { marginsOf, tokensOf, witnessedEngine } from './witnesses.ts';

const reportLine = (seed: number, report: StormReport) => `seed ${seed}: ${JSON.stringify(report)}`;

function randomPrompts(seed: number, count: number, lengthMax: number, vocabulary: number): number[][] {
  const random = prng(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const short = () => 1 + below(Math.min(6, lengthMax));
  return Array.from({ length: count }, (_, i) =>
    Array.from({ length: i % 3 === 0 ? short() : 1 + below(lengthMax) }, () => below(vocabulary)),
  );
}

test('storms over the scheduler: thousands of sequences, none lost, none mixed up', async (context) => {
  const vocabulary = 997;
  for (const [seed, rows, positions, room] of [
    [1, 1, 24, Number.POSITIVE_INFINITY],
    [2, 3, 48, 96],
    [3, 8, 64, 256],
    [4, 32, 40, 320],
    [5, 32, 70, 96],
    [6, 8, 64, Number.POSITIVE_INFINITY],
  ] as const) {
    const decoder = hashDecoder(rows, positions, vocabulary, 0, undefined, room);
    const prompts = randomPrompts(seed, 200, positions, vocabulary);
    const known = new Map(prompts.map((prompt) => [prompt, tokensAlone(prompt, vocabulary, positions)]));
    const alone = (prompt: readonly number[]) => known.get(prompt as number[])!;
    const report = await storm({ decoderOf: () => decoder, seed, sequences: 1500, prompts, alone });
    context.diagnostic(reportLine(seed, report));
    assert.ok(report.stop > 50 && report.length > 50 && report.abort > 20, 'too few sequences ended in each way');
    assert.ok(rows === 1 || report.preemptions > 20, `${report.preemptions} were preempted`);
  }
});

test('storms over a real decoder: every sequence gets the tokens that it gets alone', async (context) => {
  const runtime = testRuntime();
  const model = await tinyLowered('llama', 32);
  const decoder = createDecoder(runtime, model, { rows: 5, positions: 64 });
  const prompts = randomPrompts(11, isSlow ? 6 : 24, 60, decoder.vocabulary);
  const known = new Map<readonly number[], readonly number[]>();
  for (const prompt of prompts) {
    const witnessed = witnessedEngine(decoder, 1000);
    const witness = witnessed.add(prompt, { maxTokens: 10_000, logprobs: 2 });
    await witnessed.drain();
    // A prompt with near ties is left out: rounding would decide the comparison.
    if (Math.min(...marginsOf(witness)) > 1e-3) known.set(prompt, tokensOf(witness));
  }
  assert.ok(known.size >= (isSlow ? 3 : 12), `${known.size} prompts without a tie`);
  for (const seed of isSlow ? [21] : [21, 22]) {
    const options = { decoderOf: () => decoder, seed, sequences: isSlow ? 24 : 120, prompts: [...known.keys()] };
    const report = await storm({ ...options, alone: (prompt) => known.get(prompt)! });
    context.diagnostic(reportLine(seed, report));
    const [stops, lengths, aborts] = isSlow ? [0, 6, 0] : [5, 30, 5];
    const { stop, length, abort } = report;
    assert.ok(stop > stops && length > lengths && abort > aborts, 'too few sequences ended in each way');
  }
  await decoder.release();
});
