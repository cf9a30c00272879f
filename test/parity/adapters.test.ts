// The adapters behind the references: what the engine is given is what PEFT was given, and the references fit together.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { adapterFolder, readAdapterCases, readSeededDigests } from './adapters.ts';
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
  for (const { name, prompts } of readAdapterCases()) {
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

test('every adapter of a case is here, A and B side by side', () => {
  const names = new Set(readAdapterCases().flatMap(({ adapters }) => adapters.map(({ name }) => name)));
  for (const name of names) {
    const { weights } = adapterFolder(name);
    const tensors = parseSafetensorsHeader(weights, weights.length)!.tensors.map((tensor) => tensor.name);
    const pairs = tensors.filter((tensor) => tensor.endsWith('.lora_A.weight'));
    assert.ok(pairs.length > 0 && pairs.every((a) => tensors.includes(a.replace('lora_A', 'lora_B'))), name);
  }
});
