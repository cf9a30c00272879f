// Old objects without a row are removed from a shared store, and nothing else is.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { sweepStore } from '../../src/storage/sweep-store.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { testRegistry, upload } from '../helpers/test-registry.ts';

const dayMs = 24 * 60 * 60 * 1000;

async function setUp(t: TestContext) {
  const store = memoryStore();
  const registry = await testRegistry(t, { shared: { store, cacheBytes: 2 ** 30 } });
  const jobs = await testJobs(t, { registry, isIdle: true, jobs: { shared: store } });
  const log: { message: string }[] = [];
  const write = (fields: object, message: string) => void log.push({ ...fields, message });
  const folder = temporaryFolder(t);
  return {
    ...{ store, registry, jobs, log },
    sweep: () =>
      sweepStore({
        ...{ database: registry.database, store, clock: systemClock, timers: systemTimers, keptMs: 14 * dayMs },
        ...{ log: { info: write, warn: write }, finishedStates: ['succeeded', 'failed', 'cancelled'] },
      }),
    /** Puts an object that has no row. */
    async orphan(keyOf: (hex: string) => string): Promise<string> {
      const bytes = randomBytes(50);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const path = join(folder, sha256);
      writeFileSync(path, bytes);
      await store.put(keyOf(sha256), { path, bytes: bytes.length, sha256 });
      return keyOf(sha256);
    },
    age(days: number) {
      for (const key of store.objects.keys()) store.putAt.set(key, Date.now() - days * dayMs);
    },
  };
}

test('what no row has goes after its time; what a row has, is young or is not ours stays', async (t) => {
  const { store, registry, jobs, sweep, orphan, age, log } = await setUp(t);
  await upload(registry, 'x', 1);
  const file = await jobs.file();
  const job = await jobs.create({ trainingFile: file.id });
  await orphan(() => `work/${job.id}/initial/0/adapter_config.json`);
  await orphan(() => 'somebody/elses');
  const kept = new Set(store.objects.keys());
  const gone = [
    await orphan((hex) => `adapters/${hex}/adapter_model.safetensors`),
    await orphan((hex) => hex),
    await orphan(() => 'work/ftjob-unknown/checkpoints/step-2/0/weights'),
  ];
  age(13);
  assert.deepEqual(await sweep(), { found: 0, removed: 0 });
  age(15);
  const young = await orphan((hex) => `adapters/${hex}/adapter_model.safetensors`);
  assert.deepEqual(await sweep(), { found: 3, removed: 3 });
  for (const key of gone) assert.equal(store.objects.has(key), false, key);
  assert.deepEqual([...store.objects.keys()].sort(), [...kept, young].sort());
  assert.equal(log.length, 1);
  assert.deepEqual(await sweep(), { found: 0, removed: 0 });
  (await registry.lease('default', 'x')).release();
});

test('a half of a content goes only when its youngest object is old', async (t) => {
  const { store, sweep, orphan } = await setUp(t);
  const hex = 'a'.repeat(64);
  const [weights, config] = [
    await orphan(() => `adapters/${hex}/adapter_model.safetensors`),
    await orphan(() => `adapters/${hex}/adapter_config.json`),
  ];
  store.putAt.set(weights, Date.now() - 20 * dayMs);
  assert.deepEqual(await sweep(), { found: 0, removed: 0 });
  store.putAt.set(config, Date.now() - 20 * dayMs);
  assert.deepEqual(await sweep(), { found: 1, removed: 1 });
  assert.equal(store.objects.size, 0);
});

test('where very many have no row the database is the wrong one: nothing is removed, and that is said', async (t) => {
  const { store, sweep, orphan, age, log } = await setUp(t);
  for (let i = 0; i < 21; i++) await orphan((hex) => `adapters/${hex}/adapter_model.safetensors`);
  age(100);
  assert.deepEqual(await sweep(), { found: 21, removed: 0 });
  assert.equal(store.objects.size, 21);
  assert.match(log[0]!.message, /is this its database/);
});

test('what is published while it is looked for stays', async (t) => {
  const { store, registry, sweep, age } = await setUp(t);
  await upload(registry, 'x', 1);
  await registry.delete('default', 'x', null);
  for (let round = 0; round < 10; round++) {
    await upload(registry, 'y', round);
    await registry.delete('default', 'y', null);
    await Promise.all([upload(registry, 'y', round), sweep()]);
    age(100);
    await Promise.all([upload(registry, 'z', round), sweep()]);
    for (const name of ['y', 'z']) (await registry.lease('default', name)).release();
    assert.equal(store.objects.size, 2);
    await registry.delete('default', 'y', null);
    await registry.delete('default', 'z', null);
  }
});
