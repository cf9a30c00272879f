// The adapters behind the references: what the engine is given is what PEFT was given, and the references fit together.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { adapterFolder, readAdapterCases, readSeededDigests, withGreedyTokens } from './adapters.ts';
import { seededAdapters } from './seeded-adapter.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('seeded adapters are, byte for byte, the ones that PEFT read', () => {
  const built = seededAdapters.map(({ name }) => {
    const { config, weights } = adapterFolder(name);
    return { name, config: sha256(config), weights: sha256(weights) };
  });
  assert.deepEqual(built, readSeededDigests());
});

test('references fit together: the top token is the greedy one, and probabilities sum to 1', () => {
  for (const { name, adapters, prompts } of readAdapterCases()) {
    for (const adapter of adapters) assert.ok(adapterFolder(adapter.name).weights.length > 0);
    for (const { kind, greedy, margins, steps, distributions } of prompts) {
      assert.equal(greedy.length, margins.length);
      for (const [i, { ids, logprobs, tail }] of distributions.entries()) {
        const where = `${name}, ${kind}, step ${steps[i]}`;
        if (margins[steps[i]!]! > 1e-3) assert.equal(ids[0], greedy[steps[i]!], where);
        const sum = logprobs.reduce((total, logprob) => total + Math.exp(logprob), tail);
        assert.ok(Math.abs(sum - 1) < 1e-4, `${where}: ${sum}`);
      }
    }
  }
});

test('a prompt with its greedy tokens ends where the last distribution was taken', () => {
  const [prompt] = readAdapterCases()[0]!.prompts;
  const { tokens, positions, distributions } = withGreedyTokens(prompt!);
  assert.equal(positions[0], prompt!.tokens.length - 1);
  assert.equal(positions.at(-1), tokens.length - 1);
  assert.equal(positions.length, distributions.length);
});
