// Uploads of adapters that change the embedding: their figures, and refusals of what could never be served.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { checkAdapter } from '../../src/registry/check-adapter.ts';
import { tinyModel } from '../helpers/tiny-lowered.ts';

type Case = { readonly model: string; readonly kind: string; readonly config: object; readonly weights: string };
const url = new URL('../fixtures/embedding-adapters.json', import.meta.url);
const cases: readonly Case[] = JSON.parse(readFileSync(url, 'utf8')).cases;
const { shape } = await tinyModel('llama');

/** @param changed overwrites bytes of the file */
async function check(kind: string, { rankMax = 64, changed = (_: Buffer) => {} } = {}) {
  const one = cases.find(({ model, kind: own }) => model === 'llama' && own === kind)!;
  const file = Buffer.from(one.weights, 'base64');
  changed(file);
  const reader = { bytes: file.length, read: (at: number, count: number) => file.subarray(at, at + count) };
  const base = { name: 'llama', digest: 'sha256:b', shape: () => shape, rankMax: () => rankMax };
  return await checkAdapter(Buffer.from(JSON.stringify(one.config)), reader, base);
}

/** Overwrites a value of the tensor whose name contains `part`. */
const spoilt = (part: string, value: number) => ({
  changed(file: Buffer) {
    const { tensors } = parseSafetensorsHeader(file, file.length)!;
    file.writeFloatLE(value, tensors.find(({ name }) => name.includes(part))!.offset + 4);
  },
});

test('its rank, its modules and how many numbers it has', async () => {
  const { vocabulary, hidden } = shape;
  const figures = async (kind: string) => {
    const { r, targetModules, parameters, warnings } = await check(kind);
    return [r, targetModules, parameters, warnings];
  };
  assert.deepEqual(await figures('embedding'), [3, ['embed_tokens'], 3 * (vocabulary + hidden), []]);
  assert.deepEqual(await figures('tokens alone'), [0, ['lm_head', 'embed_tokens'], 2 * 4 * hidden, []]);
  const both = await check('embedding and linears');
  assert.deepEqual([both.r, both.targetModules, both.warnings], [5, ['o_proj', 'embed_tokens'], []]);
  assert.deepEqual((await check('tokens of the head')).targetModules, ['o_proj', 'lm_head']);
});

test('refused: what is no number or would overflow, and more ranks of the head than pages hold', async () => {
  const refused = (kind: string, options: Parameters<typeof check>[1], code: string, message: RegExp) =>
    assert.rejects(check(kind, options), (error: Error & { code?: string }) => {
      assert.deepEqual([error.code, message.test(error.message)], [code, true], error.message);
      return true;
    });
  await refused('embedding', spoilt('embedding_A', Number.NaN), 'adapter_invalid', /embedding_A holds a NaN/);
  await refused('embedding', spoilt('embedding_B', 1e30), 'adapter_invalid', /embedding_B adds up to/);
  await refused('tokens alone', spoilt('embed_tokens', Number.POSITIVE_INFINITY), 'adapter_invalid', /a NaN or an inf/);
  await refused('tokens beside LoRA', spoilt('trainable', 1e30), 'adapter_invalid', /would overflow/);
  assert.equal((await check('tokens beside LoRA', { rankMax: 4 })).r, 3);
  await refused('tokens beside LoRA', { rankMax: 3 }, 'adapter_too_large', /rank 4/);
  await refused('tokens and a head', { rankMax: 6 }, 'adapter_too_large', /rank 7/);
});
