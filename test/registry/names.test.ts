// Names in memory are those that were asked for last, and never outdated.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { KyselyPlugin } from 'kysely';
import { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import type { AdapterRegistry } from '../../src/registry/adapter-registry.ts';
import type { RegistryOptions } from '../../src/registry/options.ts';
import { unsharedChanges } from '../../src/storage/replicas/changes.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { testRegistry, upload } from '../helpers/test-registry.ts';
import { waitFor } from '../helpers/waits.ts';

const few = { ...limits, versionsKept: 2, contentsTrusted: 1 };

const point = (registry: AdapterRegistry, name: string, version: number) =>
  registry.setAlias('default', { name, alias: 'prod', targets: [{ version, weight: 1 }], expected: null });

/** A registry whose queries are counted, and can be delayed or made to fail. */
async function watched(t: TestContext, options: Partial<RegistryOptions> = {}) {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  t.after(() => database.destroy());
  const watch = { queries: 0, results: 0, gate: Promise.resolve(), failure: null as Error | null };
  const plugin: KyselyPlugin = {
    transformQuery({ node }) {
      // Queries of a tenant; the others are of the background check.
      if (JSON.stringify(node).includes('"default"')) watch.queries++;
      if (watch.failure !== null) throw watch.failure;
      return node;
    },
    // Results of queries wait while the gate is shut.
    async transformResult({ result }) {
      watch.results++;
      await watch.gate;
      return result;
    },
  };
  const registry = await testRegistry(t, { folder, database: database.withPlugin(plugin), limits: few, ...options });
  return { watch, registry };
}

test('a name in memory costs no query, whatever is asked of it', async (t) => {
  const { watch, registry } = await watched(t);
  await upload(registry, 'a', 1);
  await point(registry, 'a', 1);
  (await registry.lease('default', 'a')).release();
  const before = watch.queries;
  for (const reference of ['a', 'a@1', 'a:prod']) (await registry.lease('default', reference)).release();
  await registry.versions('default', 'a');
  await registry.aliases('default', 'a');
  assert.equal(watch.queries, before);
});

test('whoever asks for a name at once waits for one reading of it', async (t) => {
  const { watch, registry } = await watched(t);
  await upload(registry, 'a', 1);
  const before = watch.queries;
  const found = await Promise.all(Array.from({ length: 50 }, () => registry.find('default', 'a')));
  assert.equal(new Set(found.map(({ version }) => version)).size, 1);
  assert.equal(watch.queries, before + 2);
});

test('nothing that cannot be a name reaches the database', async (t) => {
  const { watch, registry } = await watched(t);
  const before = watch.queries;
  for (const name of ['', 'a b', 'a\0', '../a', 'a\ndefault', '\ud800', 'x'.repeat(1000)]) {
    for (const work of [
      registry.lease('default', name),
      registry.find('default', name),
      registry.versions('default', name),
      registry.aliases('default', name),
      registry.delete('default', name, null),
      registry.delete('default', name, 1),
      registry.deleteAlias('default', name, 'prod', null),
      point(registry, name, 1),
    ]) {
      await assert.rejects(work, { code: 'adapter_not_found' });
    }
  }
  assert.deepEqual(await registry.named('default', ['a b', '']), new Map());
  assert.equal(watch.queries, before);
});

test('what was read before a change and arrives after it is not believed', async (t) => {
  const { watch, registry } = await watched(t);
  for (const seed of [1, 2]) await upload(registry, 'a', seed);
  await point(registry, 'a', 1);
  const { promise, resolve: open } = Promise.withResolvers<void>();
  watch.gate = promise;
  const early = registry.find('default', 'a:prod');
  const changed = point(registry, 'a', 2);
  // The change's own queries wait at the gate too, so all queries are under way at once.
  await new Promise(setImmediate);
  open();
  await Promise.all([early, changed]);
  assert.equal((await registry.find('default', 'a:prod')).version, 2);
});

test('nor is the earlier of two readings that began beside each other', async (t) => {
  // This server has no lease, so it reads a missing version from the database once more.
  const changes = { ...unsharedChanges(), staleMs: 1000 };
  const { watch, registry } = await watched(t, { changes });
  for (const seed of [1, 2]) await upload(registry, 'a', seed);
  await point(registry, 'a', 1);
  assert.equal((await registry.find('default', 'a:prod')).version, 1);
  const { promise, resolve: open } = Promise.withResolvers<void>();
  const arrived = watch.results + 2;
  watch.gate = promise;
  const early = registry.find('default', 'a@9');
  early.catch(() => {});
  await waitFor('both of its queries have read', () => watch.results >= arrived, { everyMs: 1 });
  watch.gate = Promise.resolve();
  await assert.rejects(registry.find('default', 'a@9'), { code: 'adapter_not_found' });
  await point(registry, 'a', 2);
  open();
  await assert.rejects(early, { code: 'adapter_not_found' });
  assert.equal((await registry.find('default', 'a:prod')).version, 2);
});

test('after a failure of the database the name is read again', async (t) => {
  const { watch, registry } = await watched(t);
  await upload(registry, 'a', 1);
  await upload(registry, 'b', 2);
  await upload(registry, 'c', 3);
  watch.failure = new LorikeetError('storage_unavailable');
  await assert.rejects(registry.find('default', 'a'), { code: 'storage_unavailable' });
  await assert.rejects(registry.lease('default', 'b'), { code: 'storage_unavailable' });
  await assert.rejects(point(registry, 'a', 1), { code: 'storage_unavailable' });
  watch.failure = null;
  assert.equal((await registry.find('default', 'a')).version, 1);
  await assert.rejects(registry.find('default', 'a:prod'), { code: 'alias_not_found' });
});

test('what is known is served while the database is away, whatever cannot be written or found meanwhile', async (t) => {
  // This server has no lease.
  const changes = { ...unsharedChanges(), staleMs: 1000 };
  const { watch, registry } = await watched(t, { limits, changes });
  for (const [i, name] of ['a', 'b', 'c'].entries()) await upload(registry, name, i);
  for (const name of ['a', 'b']) (await registry.lease('default', name)).release();
  const other = (await registry.find('default', 'c')).digest;
  watch.failure = new LorikeetError('storage_unavailable');
  await assert.rejects(registry.markCorrupt(other), { code: 'storage_unavailable' });
  await assert.rejects(registry.find('default', 'a@99'), { code: 'storage_unavailable' });
  await assert.rejects(point(registry, 'a', 1), { code: 'storage_unavailable' });
  await assert.rejects(upload(registry, 'a', 4), { code: 'storage_unavailable' });
  for (const reference of ['a', 'a@1', 'b@1']) (await registry.lease('default', reference)).release();
  // The content counts as unchecked, although its state could not be stored.
  await assert.rejects(registry.lease('default', 'c@1'), { code: 'storage_unavailable' });
  watch.failure = null;
  (await registry.lease('default', 'c@1')).release();
  await assert.rejects(registry.find('default', 'a@99'), { code: 'adapter_not_found' });
  assert.equal((await upload(registry, 'a', 4)).adapter.version, 2);
  assert.equal((await registry.find('default', 'a@2')).version, 2);
});

test('whoever asks after an acknowledgement gets what was acknowledged, with names that come and go', async (t) => {
  const registry = await testRegistry(t, { limits: few });
  const names = ['a', 'b', 'c', 'd'];
  for (const name of names) for (const seed of [1, 2, 3]) await upload(registry, name, seed);
  const acknowledged = new Map<string, number>();
  const move = async (name: string) => {
    for (let turn = 0; turn < 30; turn++) {
      const { revision } = await point(registry, name, (turn % 3) + 1);
      acknowledged.set(name, revision);
    }
  };
  let isMoving = true;
  let reads = 0;
  const read = async (name: string) => {
    while (isMoving) {
      const least = acknowledged.get(name) ?? 0;
      const found = await registry.aliases('default', name);
      assert.ok((found[0]?.revision ?? 0) >= least, 'older than what was acknowledged');
      if (least > 0) (await registry.lease('default', `${name}:prod`)).release();
      reads++;
      // Answers from memory take no turn of the event loop, so others would never run.
      await new Promise(setImmediate);
    }
  };
  const readers = [...names, ...names, ...names].map(read);
  await Promise.all(names.map(move));
  isMoving = false;
  await Promise.all(readers);
  t.diagnostic(`${reads} readings beside ${names.length * 30} moves`);
});

test('a version that is held is told of its deletion, though its name was forgotten meanwhile', async (t) => {
  const registry = await testRegistry(t, { limits: few });
  for (const name of ['a', 'b', 'c']) await upload(registry, name, 1);
  const lease = await registry.lease('default', 'a');
  for (const name of ['b', 'c', 'b', 'c']) (await registry.lease('default', name)).release();
  let isGone = false;
  const gone = registry.delete('default', 'a', null).then(() => {
    isGone = true;
  });
  if (!lease.deleting.aborted) {
    await new Promise((resolve) => lease.deleting.addEventListener('abort', resolve, { once: true }));
  }
  await assert.rejects(registry.lease('default', 'a'), { code: 'adapter_deleting' });
  assert.equal(isGone, false);
  lease.release();
  await gone;
  await assert.rejects(registry.find('default', 'a'), { code: 'adapter_not_found' });
});

test('several names at once, each with its versions and aliases', async (t) => {
  const registry = await testRegistry(t, { limits: few });
  for (const seed of [1, 2]) await upload(registry, 'a', seed);
  await upload(registry, 'b', 1);
  await upload(registry, 'a', 3, { tenant: 'other' });
  await point(registry, 'a', 1);
  const found = await registry.named('default', ['a', 'b', 'none']);
  assert.deepEqual([...found.keys()].sort(), ['a', 'b']);
  assert.deepEqual(found.get('a')!.versions, await registry.versions('default', 'a'));
  assert.deepEqual(found.get('a')!.aliases, await registry.aliases('default', 'a'));
  assert.deepEqual([found.get('b')!.versions.length, found.get('b')!.aliases], [1, []]);
});
