// The tiny models of every architecture against transformers' float32.

import assert from 'node:assert/strict';
import test from 'node:test';
import { notOn } from '../../src/core/layer-plan.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered, tinyModel } from '../helpers/tiny-lowered.ts';
import { familyModels, type TinyPrompt, tinyModels, tinyReferences } from '../helpers/tiny-models.ts';
import { firstDifference } from '../parity/greedy.ts';
import { klDivergence } from '../parity/kl.ts';
import { greedy, marginsOf, tokensOf, witnessedEngine } from './witnesses.ts';

const runtime = testRuntime();
const positions = 160;
const real = runtime.device?.real ?? 'float32';

/**
 * Bounds with float weights: of a logit's difference, of the mean KL divergence in nats. Logits reach 9. Each is about
 * twice the most that was found: 0.019 and 4.8e-6 in float16, 0.16 and 3.0e-4 in bfloat16, whose steps are eight times
 * as long.
 */
const bounds = { float32: [1e-4, 1e-8], float16: [0.04, 1e-5], bfloat16: [0.3, 6e-4] } as const;

async function generate(decoder: Decoder, prompt: readonly number[], count: number): Promise<number[]> {
  const witnessed = witnessedEngine(decoder, 1000);
  const witness = witnessed.add(prompt, { maxTokens: count });
  await witnessed.drain();
  return tokensOf(witness);
}

type Difference = { readonly largest: number; readonly meanKl: number };

/** Logits of a whole prompt in one prefill, or of every token in a decode step of its own. */
async function difference(
  decoder: Decoder,
  prompts: readonly TinyPrompt[],
  kind: 'prompt' | 'answer',
): Promise<Difference> {
  let largest = 0;
  const kls: number[] = [];
  const compare = (expected: Float32Array, logits: Float32Array) => {
    const apart = expected.map((logit, i) => Math.abs(logit - logits[i]!));
    // Math.max passes a NaN on to the assertion.
    largest = Math.max(largest, ...apart);
    kls.push(klDivergence(whole(expected), logits));
  };
  for (const { tokens, positions: stored, logits } of prompts) {
    if (kind === 'prompt') {
      const all = await decoder.forward(evenBatch({ kind, first: 1, pasts: [0], tokens, sampled: stored }));
      for (const [i, expected] of logits.entries())
        compare(expected, all.subarray(i * expected.length, (i + 1) * expected.length));
      continue;
    }
    for (const [position, token] of tokens.entries()) {
      const found = await decoder.forward(
        evenBatch({ kind, first: 1, pasts: [position], tokens: [token], sampled: [0] }),
      );
      const at = stored.indexOf(position);
      if (at >= 0) compare(logits[at]!, found);
    }
  }
  return { largest, meanKl: kls.reduce((a, b) => a + b, 0) / kls.length };
}

function whole(logits: Float32Array) {
  const max = Math.max(...logits);
  const total = max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
  return { ids: Uint16Array.from(logits.keys()), logprobs: logits.map((logit) => logit - total), tail: 0 };
}

for (const name of [...tinyModels, ...familyModels]) {
  const { prompts, vocabulary } = tinyReferences(name);
  const { shape } = await tinyModel(name);
  const skip = notOn(runtime.device?.name ?? 'cpu', shape) ?? false;

  test(`${name} with float weights gives transformers' logits and greedy tokens`, { skip }, async (context) => {
    const [logitsMax, klMax] = bounds[real];
    const decoder = createDecoder(runtime, await tinyLowered(name, 32), { rows: 2, positions, kvType: 'float32' });
    assert.equal(decoder.vocabulary, vocabulary);
    for (const phase of ['prompt', 'answer'] as const) {
      const { largest, meanKl } = await difference(decoder, prompts, phase);
      context.diagnostic(
        `${phase}: logits within ${largest.toExponential(1)}, mean KL ${meanKl.toExponential(1)} nats`,
      );
      assert.ok(largest < logitsMax && meanKl < klMax, `${phase}: ${largest}, ${meanKl}`);
    }
    for (const prompt of prompts) {
      const other = firstDifference(prompt, await generate(decoder, prompt.tokens, prompt.greedy.length));
      assert.ok(other === null || (real !== 'float32' && other.margin < 2 * logitsMax), JSON.stringify(other));
    }
    await decoder.release();
  });

  test(`${name} at its native width stays near: weights of 4 and 8 bits, activations of 8`, {
    skip,
  }, async (context) => {
    const decoder = createDecoder(runtime, await tinyLowered(name, null), { rows: 2, positions });
    for (const phase of ['prompt', 'answer'] as const) {
      const { largest, meanKl } = await difference(decoder, prompts, phase);
      context.diagnostic(`${phase}: logits within ${largest.toFixed(3)}, mean KL ${meanKl.toExponential(1)} nats`);
      // Logits reach 9. Random weights make no token certain, which is the worst case.
      assert.ok(largest < 0.5 && meanKl < 0.005, `${phase}: ${largest}, ${meanKl}`);
    }
    let [equal, surest] = [0, 0];
    for (const prompt of prompts) {
      const other = firstDifference(prompt, await generate(decoder, prompt.tokens, prompt.greedy.length));
      if (other) surest = Math.max(surest, other.margin);
      else equal++;
    }
    context.diagnostic(`greedy: ${equal} of ${prompts.length} equal; surest token lost led by ${surest}`);
    assert.ok(surest < 0.5);
    await decoder.release();
  });
}

for (const bits of [32, null] as const) {
  test(`how a prompt is cut, and who runs beside it, changes no token: ${bits ?? 'native'} bits`, async (context) => {
    const prompts = tinyReferences('llama-gguf').prompts.map(({ tokens }) => tokens);
    const decoder = createDecoder(runtime, await tinyLowered('llama-gguf', bits), { rows: 6, positions });
    const params = { ...greedy, maxTokens: 24, logprobs: 2 };
    const run = async (chunk: number, copies: number) => {
      const witnessed = witnessedEngine(decoder, chunk);
      for (let i = 0; i < copies; i++) for (const prompt of prompts) witnessed.add(prompt, params);
      await witnessed.drain();
      return witnessed.witnesses;
    };
    const alone = [];
    for (const prompt of prompts) {
      const witnessed = witnessedEngine(decoder, 1000);
      alone.push(witnessed.add(prompt, params));
      await witnessed.drain();
    }
    let [compared, differed] = [0, 0];
    for (const chunk of [1, 7, 32, 128]) {
      for (const copies of [1, 3]) {
        for (const [i, witness] of (await run(chunk, copies)).entries()) {
          const expected = alone[i % prompts.length]!;
          compared++;
          const step = tokensOf(witness).findIndex((token, at) => token !== tokensOf(expected)[at]);
          if (step < 0) continue;
          differed++;
          const margin = marginsOf(expected)[step]!;
          assert.ok(margin < 0.02, `chunk ${chunk}, prompt ${i}: other at ${step}, where the margin was ${margin}`);
        }
      }
    }
    context.diagnostic(`${differed} of ${compared} sequences have another token somewhere, all where two were level`);
    assert.ok(bits === null || differed === 0);
    await decoder.release();
  });
}
