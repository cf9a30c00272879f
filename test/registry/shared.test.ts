// Contents in a store that several servers share, with the folder as a cache.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { weightsName } from '../../src/storage/blob-folder.ts';
import { type MemoryStore, memoryStore } from '../helpers/memory-store.ts';
import { sized, sizedTimeoutMs } from '../helpers/sizes.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { type TestRegistry, testRegistry, upload } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';
import { waitFor } from '../helpers/waits.ts';

const manyBytes = 2 ** 40;

/** Starts servers one after another on one database and one store, each with a new folder unless one is given. */
async function servers(t: TestContext, store: MemoryStore = memoryStore()) {
  const database = await newDatabase();
  t.after(() => database.destroy());
  let last: TestRegistry | null = null;
  const start = async (folder = temporaryFolder(t), cacheBytes = manyBytes): Promise<TestRegistry> => {
    await last?.close();
    last = await testRegistry(t, { database, folder, shared: { store, cacheBytes } });
    return last;
  };
  return { store, start };
}

const blobs = (registry: TestRegistry) => readdirSync(join(registry.folder, 'blobs'));
const bytesOf = async (registry: TestRegistry, reference: string) => {
  const lease = await registry.lease('default', reference);
  const bytes = readFileSync(lease.files.weights);
  lease.release();
  return bytes;
};

test('what one server was given another one serves', async (t) => {
  const { store, start } = await servers(t);
  const { adapter } = await upload(await start(), 'a', 1);
  const key = `adapters/${adapter.digest.slice(7)}`;
  assert.deepEqual([...store.objects.keys()].sort(), [`${key}/adapter_config.json`, `${key}/${weightsName}`]);
  const second = await start();
  assert.deepEqual(blobs(second), []);
  const [bytes] = await Promise.all([bytesOf(second, 'a'), bytesOf(second, 'a'), bytesOf(second, 'a@1')]);
  assert.deepEqual(bytes, Buffer.from(tinyAdapter(1).weights));
  assert.equal(store.gets, 2, 'asked for once, however many wait');
});

test('the cache holds what it may, and never lets go of what is used', { timeout: sizedTimeoutMs }, async (t) => {
  const { store, start } = await servers(t);
  const first = await start();
  const count = sized(12, 300);
  for (let seed = 0; seed < count; seed++) await upload(first, `a${seed}`, seed);
  const { bytes } = await first.find('default', 'a0');
  const second = await start(temporaryFolder(t), 3 * bytes);
  const held = await second.lease('default', 'a7');
  for (let round = 0; round < 2; round++) {
    const names = Array.from({ length: count }, (_, i) => (i * 7 + round) % count);
    await Promise.all(
      names.map(async (seed) => {
        assert.deepEqual(await bytesOf(second, `a${seed}`), Buffer.from(tinyAdapter(seed).weights));
        assert.ok(existsSync(held.files.weights));
      }),
    );
  }
  // Blobs that were in use may stay beyond the budget until the next blob comes.
  await bytesOf(second, 'a1');
  await bytesOf(second, 'a2');
  held.release();
  for (const seed of [3, 4, 5, 6]) await bytesOf(second, `a${seed}`);
  await waitFor('the cache is within its budget', () => blobs(second).length <= 3, { everyMs: 5 });
  assert.equal(store.objects.size, 2 * count);
  assert.deepEqual(second.log, []);
});

test('a store that is away: what is here is served, the rest is an error, and nothing is damaged', async (t) => {
  const { store, start } = await servers(t);
  const first = await start();
  for (const seed of [1, 2]) await upload(first, `a${seed}`, seed);
  const second = await start();
  await bytesOf(second, 'a1');
  store.isAway = true;
  await bytesOf(second, 'a1');
  await assert.rejects(second.lease('default', 'a2'), { code: 'storage_unavailable' });
  await assert.rejects(upload(second, 'a3', 3), { code: 'storage_unavailable' });
  await assert.rejects(second.delete('default', 'a1', null), { code: 'storage_unavailable' });
  store.isAway = false;
  await bytesOf(second, 'a2');
  await assert.rejects(second.find('default', 'a3'), { code: 'adapter_not_found' });
  assert.equal((await upload(second, 'a3', 3)).created, true);
  await second.delete('default', 'a1', 1);
  assert.equal(store.objects.size, 4);
});

test('a damaged copy is fetched again; a damaged object is served to nobody until it is uploaded again', async (t) => {
  const { store, start } = await servers(t);
  const first = await start();
  const { adapter } = await upload(first, 'a', 1);
  const key = `adapters/${adapter.digest.slice(7)}/${weightsName}`;
  const whole = store.objects.get(key)!;
  const path = join(first.folder, 'blobs', adapter.digest.slice(7), weightsName);
  writeFileSync(path, 'x');
  const second = await start(first.folder);
  assert.deepEqual(await bytesOf(second, 'a'), whole);
  store.objects.set(key, Buffer.from(whole).fill(0x20, 0, 1));
  const third = await start();
  await assert.rejects(third.lease('default', 'a'), { code: 'adapter_corrupt' });
  assert.equal((await upload(third, 'a', 1)).created, false);
  assert.deepEqual([await bytesOf(third, 'a'), store.objects.get(key)], [whole, whole]);
});

test('deletions and uploads of the same content at once leave rows and objects that agree', async (t) => {
  const { store, start } = await servers(t);
  const registry = await start();
  for (let round = 0; round < 4; round++) {
    await upload(registry, 'a', 1);
    await Promise.all([registry.delete('default', 'a', null), upload(registry, 'b', 1)]);
    assert.equal(store.objects.size, 2);
    await bytesOf(registry, 'b');
    await Promise.all([registry.delete('default', 'b', null), upload(registry, 'c', 1).catch(() => {})]);
    await bytesOf(registry, 'c');
    await registry.delete('default', 'c', null);
    assert.deepEqual([store.objects.size, blobs(registry)], [0, []]);
  }
});

test('a start keeps of its cache what the database names', async (t) => {
  const { start } = await servers(t);
  const first = await start();
  for (const seed of [1, 2]) await upload(first, `a${seed}`, seed);
  const second = await start();
  await second.delete('default', 'a1', 1);
  const third = await start(first.folder);
  await third.swept;
  assert.equal(blobs(third).length, 1);
  assert.ok(!existsSync(join(third.folder, 'quarantine')));
  await bytesOf(third, 'a2');
});

test('a server that had a folder alone puts all of it into the store at its next start', async (t) => {
  const [store, database, folder] = [memoryStore(), await newDatabase(), temporaryFolder(t)];
  t.after(() => database.destroy());
  const alone = await testRegistry(t, { database, folder });
  for (const seed of [1, 2]) await upload(alone, `a${seed}`, seed);
  await alone.close();
  store.isAway = true;
  const shared = { store, cacheBytes: manyBytes };
  await assert.rejects(testRegistry(t, { database, folder, shared }), { code: 'storage_unavailable' });
  store.isAway = false;
  await (await testRegistry(t, { database, folder, shared })).close();
  assert.equal(store.objects.size, 4);
  const elsewhere = await testRegistry(t, { database, folder: temporaryFolder(t), shared });
  for (const seed of [1, 2])
    assert.deepEqual(await bytesOf(elsewhere, `a${seed}`), Buffer.from(tinyAdapter(seed).weights));
});
