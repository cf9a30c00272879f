// The real model against transformers in float32 on the same dequantised weights, llama.cpp's figures beside ours.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import { argmax } from '../../src/engine/sampling/argmax.ts';
import { loadWeights } from '../../src/graph/weights.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { marginsOf, tokensOf, witnessedEngine } from '../engine/witnesses.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { greedyLine, measureGreedy } from './greedy.ts';
import { measureParity, parityLine } from './kl.ts';
import { readPeerParity } from './peer.ts';
import { readReferences } from './references.ts';

const references = readReferences();
const peer = readPeerParity();
const cacheDir = mkdtempSync(join(tmpdir(), 'lorikeet-parity-'));
let decoder: Decoder;

before(async () => {
  const runtime = createOnnxRuntime({ library: null, threads: null, spin: true });
  const { model } = await loadWeights(await realModelFiles(), null, cacheDir, assert.fail);
  decoder = createDecoder(runtime, model, { rows: 1, positions: 1024 });
});
after(() => rmSync(cacheDir, { recursive: true }));

const chunkTokens = 128;

/** Fills row 0 in the server's chunks and returns the logits after the last token. */
async function nextTokenLogits(tokens: readonly number[]): Promise<Float32Array> {
  let logits: Float32Array = new Float32Array();
  for (let past = 0; past < tokens.length; past += chunkTokens) {
    const chunk = tokens.slice(past, past + chunkTokens);
    logits = await decoder.forward(
      evenBatch({
        kind: 'prompt',
        first: 0,
        pasts: [past],
        tokens: chunk,
        sampled: [chunk.length - 1],
      }),
    );
  }
  return logits.slice();
}

/** The same with the last token through a decode step, whose activations are rounded to 8 bits. */
async function decodedLogits(tokens: readonly number[]): Promise<Float32Array> {
  if (tokens.length === 1) return nextTokenLogits(tokens);
  const past = tokens.length - 1;
  await nextTokenLogits(tokens.slice(0, past));
  const batch = { first: 0, pasts: [past], tokens: tokens.slice(past), sampled: [0] };
  return (await decoder.forward(evenBatch({ kind: 'answer', ...batch }))).slice();
}

async function generate(prompt: readonly number[], count: number): Promise<number[]> {
  const tokens = [argmax(await nextTokenLogits(prompt))];
  while (tokens.length < count) {
    const past = prompt.length + tokens.length - 1;
    const batch = { first: 0, pasts: [past], tokens: [tokens.at(-1)!], sampled: [0] };
    tokens.push(argmax(await decoder.forward(evenBatch({ kind: 'answer', ...batch }))));
  }
  return tokens;
}

test('next-token distributions lie as near to the reference as llama.cpp’s', async (t) => {
  const ours = await measureParity(references.prompts, nextTokenLogits);
  const decoded = await measureParity(references.prompts, decodedLogits);
  t.diagnostic(parityLine('lorikeet, prefill', ours));
  t.diagnostic(parityLine('lorikeet, decode', decoded));
  t.diagnostic(parityLine(peer.peer, peer));
  for (const { meanKl, top1 } of [ours, decoded]) {
    assert.ok(meanKl <= 0.006, `mean KL is ${meanKl} nats`);
    assert.ok(top1 >= 0.94, `top-1 agreement is ${top1}`);
  }
});

test('greedy tokens are the reference’s, but where two tokens are nearly level', async (t) => {
  const ours = await measureGreedy(references.prompts, generate);
  t.diagnostic(greedyLine('lorikeet', ours));
  t.diagnostic(greedyLine(peer.peer, peer));
  // Rounding to 8 bits loses one token that led by 1.76, by 0.01 to 0.06 and on every kernel set; the next led by 0.5.
  assert.ok(ours.largestMargin < 2, `a first difference fell where the reference led by ${ours.largestMargin}`);
});

/** Tokens whose logits lie this near may change places; with 8-bit activations none did, since rows keep every bit. */
const nearTie = 0.02;

for (const decodeActivations of ['int16', 'int8'] as const) {
  test(`in chunks, in a batch and alone, the same greedy tokens (${decodeActivations} decode)`, async (t) => {
    const runtime = createOnnxRuntime({ library: null, threads: null, spin: true });
    const { model } = await loadWeights(await realModelFiles(), null, cacheDir, assert.fail);
    const decoder = createDecoder(runtime, model, { rows: 8, positions: 256, decodeActivations });
    const run = async (chunk: number, group: readonly (readonly number[])[]) => {
      const witnessed = witnessedEngine(decoder, chunk);
      for (const prompt of group) witnessed.add(prompt, { maxTokens: 16, logprobs: 2 });
      await witnessed.drain();
      return witnessed.witnesses;
    };
    const short = references.prompts.filter(({ tokens }) => tokens.length < 200);
    const prompts = short.filter((_, i) => i % 3 === 0).map(({ tokens }) => tokens);
    const alone = [];
    for (const prompt of prompts) alone.push(...(await run(chunkTokens, [prompt])));
    const leads: number[] = [];
    for (const chunk of [16, chunkTokens]) {
      for (const [i, witness] of (await run(chunk, prompts)).entries()) {
        const expected = tokensOf(alone[i]!);
        const step = tokensOf(witness).findIndex((token, at) => token !== expected[at]);
        if (step >= 0) leads.push(marginsOf(alone[i]!)[step]!);
      }
    }
    await decoder.release();
    t.diagnostic(`${leads.length} of ${2 * prompts.length} differ, at leads up to ${Math.max(0, ...leads).toFixed(3)}`);
    assert.ok(leads.every((lead) => lead < nearTie));
  });
}
