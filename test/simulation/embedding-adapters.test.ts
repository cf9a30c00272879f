// Adapters that change rows of the embedding, as a user has them: uploaded by a form, checked, stored, and computed by
// an engine in a process of its own. What PEFT generates is generated.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { testApp } from '../helpers/app.ts';
import { byteTokenizer } from '../helpers/byte-tokenizer.ts';
import { testRegistry } from '../helpers/test-registry.ts';
import { tinyFiles, tinyModel } from '../helpers/tiny-lowered.ts';
import { formOf } from '../server/form.ts';
import { startTinyEngine } from './tiny-engine.ts';

type Case = {
  readonly model: string;
  readonly kind: string;
  readonly config: object;
  readonly weights: string;
  readonly greedy: readonly number[];
};
const url = new URL('../fixtures/embedding-adapters.json', import.meta.url);
const fixture = JSON.parse(readFileSync(url, 'utf8')) as { readonly tokens: readonly number[]; readonly cases: Case[] };
const cases = fixture.cases.filter(({ model }) => model === 'llama');

test('uploaded, stored and asked for by name: what PEFT generates', async (t) => {
  const files = await tinyFiles('llama');
  const { shape } = await tinyModel('llama');
  const asked = { decodeActivations: 'int16', maxSequences: 4, adapterBytes: 2 ** 24, adapterPages: 64 } as const;
  const engine = startTinyEngine(t, files, asked);
  await engine.ready;
  const base = { name: 'tiny', digest: files.digest, shape: () => shape };
  const tokenizer = { ...byteTokenizer(), vocabulary: shape.vocabulary };
  const { app } = await testApp(t, { deps: { engine, tokenizer, registry: await testRegistry(t, { base }) } });
  for (const [i, { kind, config, weights, greedy }] of cases.entries()) {
    const form = formOf(
      { name: 'name', content: `case-${i}` },
      { name: 'config', filename: 'adapter_config.json', content: JSON.stringify(config) },
      { name: 'weights', filename: 'adapter_model.safetensors', content: Buffer.from(weights, 'base64') },
    );
    const uploaded = await app.inject({ method: 'POST', url: '/v1/adapters', ...form });
    assert.equal(uploaded.statusCode, 201, `${kind}: ${uploaded.body}`);
    const answer = await app.inject({
      ...{ method: 'POST', url: '/v1/generate' },
      payload: {
        ...{ prompt: fixture.tokens, adapter_id: `case-${i}`, temperature: 0, ignore_eos: true },
        max_tokens: greedy.length,
      },
    });
    assert.equal(answer.statusCode, 200, `${kind}: ${answer.body}`);
    assert.equal((answer.json() as { text: string }).text, tokenizer.decode(greedy), kind);
  }
  assert.ok(cases.length >= 3);
});
