// The default model, fetched as on any machine.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { BaseModel, ModelFiles } from '../../src/core/base-model.ts';
import { dequantize } from '../../src/formats/dequantize.ts';
import { elementCount } from '../../src/formats/tensor-bytes.ts';
import { openModel } from '../../src/models/open.ts';
import { resolveModel } from '../../src/models/resolve.ts';

const cacheDir = process.env.LORIKEET_TEST_MODEL_CACHE ?? join(homedir(), '.cache', 'lorikeet', 'models');
const options = {
  cacheDir,
  hub: {
    endpoint: process.env.HF_ENDPOINT ?? 'https://huggingface.co',
    token: process.env.HF_TOKEN ?? null,
    cacheDir: process.env.HF_HUB_CACHE ?? join(homedir(), '.cache', 'huggingface', 'hub'),
    offline: process.env.HF_HUB_OFFLINE === '1',
  },
};

let files: ModelFiles;
let model: BaseModel;

before(async () => {
  files = await resolveModel('SmolLM2-135M-Instruct', options);
  model = await openModel(files);
});

test('is the file that the descriptor pins, found in the cache the second time', async (context) => {
  assert.equal(files.digest, 'sha256:d79f6ac0492e2a2fc26721cba7c1451cd9a04253ad7296190f0691469caaf0e8');
  const start = performance.now();
  assert.deepEqual(await resolveModel('SmolLM2-135M-Instruct', options), { ...files, source: 'cache' });
  context.diagnostic(`second resolve: ${(performance.now() - start).toFixed(1)} ms`);
});

test('has the shape of SmolLM2-135M', () => {
  assert.partialDeepStrictEqual(model.shape, {
    architecture: 'llama',
    layers: 30,
    hidden: 576,
    intermediate: 1536,
    heads: 9,
    kvHeads: 3,
    headDim: 64,
    vocabulary: 49_152,
    context: 8192,
    ropeTheta: 100_000,
    tiedEmbedding: true,
  });
  assert.equal(model.tensors.size, 272);
});

test('dequantises, in the order of Hugging Face, to the bits that the gguf package gives', (context) => {
  const fixture = new URL('../fixtures/smollm2-checksums.json', import.meta.url);
  const digests: Record<string, string> = JSON.parse(readFileSync(fixture, 'utf8'));
  for (const [name, digest] of Object.entries(digests)) {
    const { type, shape, bytes } = model.tensors.get(name)!;
    const weights = dequantize(type, bytes(), elementCount(shape)!);
    const found = createHash('sha256').update(new Uint8Array(weights.buffer)).digest('hex');
    assert.equal(found, digest, name);
  }
  const start = performance.now();
  for (const { type, shape, bytes } of model.tensors.values()) dequantize(type, bytes(), elementCount(shape)!);
  context.diagnostic(`all weights: ${(performance.now() - start).toFixed(0)} ms`);
});
