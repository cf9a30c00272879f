// The whole server in a storm: HTTP, registry, supervised engine, a real tiny model. Adapters are uploaded, aliased and
// deleted while requests for them and for the base run, over beginnings that are kept and too little room for keys and
// values. Every answer must be exactly what the weights that it names say alone.
//
//     STORM_REQUESTS=100000 npm test -- test/simulation/adapters     a million tokens

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AdapterFiles } from '../../src/core/adapter.ts';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { prng } from '../../src/core/prng.ts';
import { layerModules, randomAdapter } from '../engine/adapters/random-adapters.ts';
import { testApp } from '../helpers/app.ts';
import { type TestRegistry, testRegistry, upload } from '../helpers/test-registry.ts';
import { tinyFiles, tinyModel } from '../helpers/tiny-lowered.ts';
import { startTinyEngine } from './tiny-engine.ts';

const [contents, names, prompts, atOnce] = [24, 6, 3, 24];
const requests = Number(process.env.STORM_REQUESTS ?? 2000);
const seed = 2026;
const files = await tinyFiles('llama');
const { shape } = await tinyModel('llama');
/** Keys and values of all layers, half floats. */
const kvTokenBytes = 2 * shape.layers * shape.kvHeads * shape.headDim * 2;

/** Content number `i`, of a rank and on linears that follow from it. */
const contentOf = Array.from({ length: contents }, (_, i) => {
  const modules = i % 3 === 0 ? (['q_proj', 'v_proj'] as const) : layerModules;
  return randomAdapter(shape, { seed: 100 + i, modules, r: 1 + ((i * 7) % 20) }).files;
});
const bytesOf = ({ config, weights }: AdapterFiles) => ({
  config: readFileSync(config),
  weights: readFileSync(weights),
});

type Answer = { status: number; digest: string; text: string; code: string };

test('every answer is that of the weights it names, whatever happens to names meanwhile', async (t) => {
  const engine = startTinyEngine(t, files, {
    ...{ decodeActivations: 'int8', maxSequences: 6 },
    // Room for a third of the contents in memory, and for fewer pages than the rows could ask for.
    ...{ adapterBytes: 400_000, adapterPages: 10 },
    // For two rows at their longest.
    ...{ kvBytes: 6 * kvBlock * kvTokenBytes, prefixBytes: 2 * kvBlock * kvTokenBytes },
  });
  await engine.ready;
  const base = { name: 'tiny', digest: files.digest, shape: () => shape };
  const registry: TestRegistry = await testRegistry(t, { base });
  const { app } = await testApp(t, { deps: { engine, registry } });
  const random = prng(seed);
  const below = (limit: number) => Math.floor(random() * limit);

  const ask = async (body: object): Promise<Answer> => {
    const payload = { max_tokens: 10, temperature: 0, ignore_eos: true, ...body };
    const answer = await app.inject({ method: 'POST', url: '/v1/generate', payload });
    const { text, error } = answer.json() as { text: string; error?: { code: string } };
    const digest = String(answer.headers['x-adapter-digest'] ?? 'base');
    return { status: answer.statusCode, digest, text, code: error?.code ?? '' };
  };
  const promptOf = (i: number) => Array.from({ length: 3 + 17 * i }, (_, at) => (at * 31 + i * 7) % 256);

  // What each content says alone: under a name that stays.
  const alone = new Map<string, string>();
  for (let prompt = 0; prompt < prompts; prompt++) {
    alone.set(`base ${prompt}`, (await ask({ prompt: promptOf(prompt) })).text);
    for (const [i, content] of contentOf.entries()) {
      if (prompt === 0) await upload(registry, `kept-${i}`, bytesOf(content));
      const { digest, text, status, code } = await ask({ prompt: promptOf(prompt), adapter_id: `kept-${i}` });
      assert.deepEqual([status, code, digest], [200, '', content.digest]);
      alone.set(`${digest} ${prompt}`, text);
    }
  }
  assert.ok(new Set(alone.values()).size > 0.8 * alone.size, 'most say something of their own');

  const counts: Record<string, number> = {};
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const change = async (name: string, kind: number): Promise<void> => {
    if (kind < 6) {
      const { adapter } = await upload(registry, name, bytesOf(contentOf[below(contents)]!));
      await registry.setAlias('default', {
        ...{ name, alias: 'prod', targets: [{ version: adapter.version, weight: 1 }], expected: null },
      });
      count('uploads');
    } else if (kind < 8) {
      const versions = await registry.versions('default', name);
      const targets = [versions[0]!, versions.at(-1)!].map(({ version }) => ({ version, weight: 1 }));
      const split = targets[0]!.version === targets[1]!.version ? targets.slice(0, 1) : targets;
      await registry.setAlias('default', { name, alias: 'prod', targets: split, expected: null });
      count('aliases moved');
    } else {
      await registry.delete('default', name, null);
      count('deletions');
    }
  };
  const request = async (): Promise<void> => {
    const prompt = below(prompts);
    const reference = below(5) === 0 ? `kept-${below(contents)}` : `moving-${below(names)}${below(2) ? ':prod' : ''}`;
    const body = { prompt: promptOf(prompt), ...(below(5) === 0 ? {} : { adapter_id: reference }) };
    const { status, digest, text, code } = await ask(body);
    if (status === 200) {
      assert.equal(text, alone.get(`${digest} ${prompt}`), `${digest} said what it does not say alone`);
      assert.equal(digest === 'base', !('adapter_id' in body), 'the base answered for an adapter');
      count(digest === 'base' ? 'base answers' : 'adapter answers');
    } else {
      assert.ok(['adapter_not_found', 'alias_not_found', 'adapter_deleting'].includes(code), `${status} ${code}`);
      count(code);
    }
  };

  for (let i = 0; i < names; i++) await change(`moving-${i}`, 0);
  /** Whether the storm has met each thing that could make an answer wrong. */
  const metAll = () =>
    counts['adapter answers']! > 500 &&
    counts['base answers']! > 100 &&
    engine.stats.adapters.evictions > 100 &&
    engine.stats.preemptions > 20 &&
    (engine.stats.prefixes?.hit ?? 0) > 1000;
  let sent = 0;
  const worker = async () => {
    while (sent++ < requests || (!metAll() && sent < 20 * requests)) await request();
  };
  let over = false;
  const changing = (async () => {
    while (!over) {
      // A name that another change has just removed is no failure of this one.
      await change(`moving-${below(names)}`, below(10)).catch((error: { code?: string }) =>
        count(`change: ${error.code}`),
      );
      await sleep(1 + below(5));
    }
  })();
  await Promise.all(Array.from({ length: atOnce }, worker));
  over = true;
  await changing;
  const { evictions, copiedBytes: _, ...adapters } = engine.stats.adapters;
  const { preemptions, prefixes } = engine.stats;
  const found = prefixes?.hit ?? 0;
  t.diagnostic(`seed ${seed}: ${JSON.stringify({ ...counts, evictions, ...adapters, preemptions, found })}`);
  assert.equal(engine.restarts, 0, 'the books of the idle engine did not balance');
  assert.ok(metAll(), 'too few requests ended in each way');
  await registry.delete('default', 'kept-0', null);
});
