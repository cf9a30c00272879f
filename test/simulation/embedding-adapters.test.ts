// Adapters that change rows of the embedding, as a user has them: uploaded by a form, checked, stored, and computed by
// an engine in a process of its own. What PEFT generates is generated.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { environmentForChildren } from '../../src/config.ts';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { engineProcessStarter } from '../../src/protocol/engine-process.ts';
import { superviseEngine } from '../../src/protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../../src/protocol/supervisor-options.ts';
import { testApp } from '../helpers/app.ts';
import { byteTokenizer } from '../helpers/byte-tokenizer.ts';
import { testRegistry } from '../helpers/test-registry.ts';
import { temporaryFolder, tinyFiles, tinyModel } from '../helpers/tiny-lowered.ts';
import { formOf } from '../server/form.ts';

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
  const engine = superviseEngine({
    startProcess: engineProcessStarter(new URL('../../src/engine/main.ts', import.meta.url), environmentForChildren()),
    configs: [
      {
        ...{ model: files, weightBits: 32, decodeActivations: 'int16', device: 'cpu', ortLibrary: null, threads: 1 },
        ...{ maxSequences: 4, maxContext: 96, prefillChunk: 16, cacheDir: temporaryFolder() },
        ...{ adapterBytes: 2 ** 24, adapterPages: 64 },
      },
    ],
    limits: { ...defaultSupervisorLimits, waitingRequests: 8, waitingTokens: 10_000 },
    ...{ clock: systemClock, timers: systemTimers },
    log: { info: () => {}, warn: () => {}, error: () => {} },
  });
  t.after(() => engine.close(0));
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
