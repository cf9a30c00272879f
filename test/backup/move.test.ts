// A data dir's rows in another database and its contents in a store: all of them or none, the same as before, and what
// broke off goes on.

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { KyselyPlugin } from 'kysely';
import { moveContents } from '../../src/main/move-contents.ts';
import { type Database, openDatabase } from '../../src/storage/database.ts';
import { moveRows } from '../../src/storage/move-rows.ts';
import { countedTables, tableKeys } from '../../src/storage/table-keys.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { testRegistry, upload } from '../helpers/test-registry.ts';

const fixture = fileURLToPath(new URL('../fixtures/data-dirs/schema-4', import.meta.url));

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'lorikeet-move-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A data dir with adapters of two tenants, aliases, keys, files and a job, and more rows than are read at once. */
async function source(t: TestContext) {
  const dataDir = join(folder(t), 'data');
  cpSync(fixture, dataDir, { recursive: true });
  const database = await openDatabase(join(dataDir, 'lorikeet.db'));
  t.after(() => database.destroy());
  const entries = Array.from({ length: 450 }, (_, at) => ({
    ...{ at, tenant: 'a', actor: 'command-line', ip: null, request_id: null, action: 'keys.create', target: 'k\u2028' },
    ...{ before: null, after: JSON.stringify({ at }) },
  }));
  await database.insertInto('audit').values(entries).execute();
  await database.insertInto('rate_levels').values({ id: 'tenant a tokens', level: -0.1, at: 1.8e12 }).execute();
  return { dataDir, database };
}

async function empty(t: TestContext): Promise<Database> {
  const database = await newDatabase();
  t.after(() => database.destroy());
  return database;
}

const tables = Object.keys(tableKeys) as (keyof typeof tableKeys)[];

async function countOf(database: Database): Promise<number> {
  let rows = 0;
  for (const table of tables) rows += (await database.selectFrom(table).selectAll().execute()).length;
  return rows;
}

const quiet = { info: () => {}, warn: () => {}, error: () => {} };

test('every table is moved, with every row as it was', async (t) => {
  const [{ dataDir, database }, target] = [await source(t), await empty(t)];
  const before = await countOf(database);
  assert.deepEqual(await moveRows(database, target), { rows: before, isNew: true });
  assert.equal(await countOf(target), before);
  assert.deepEqual(
    await target.selectFrom('rate_levels').selectAll().execute(),
    await database.selectFrom('rate_levels').selectAll().execute(),
  );
  const registry = await testRegistry(t, { folder: join(dataDir, 'adapters'), database: target });
  for (const reference of ['org/x', 'org/x@1', 'org/x:prod', 'trained']) {
    (await registry.lease('a', reference)).release();
  }
  await registry.close();
});

test('all tables that there are are known', async (t) => {
  const there = await (await source(t)).database.introspection.getTables();
  assert.deepEqual(there.map(({ name }) => name).sort(), tables.toSorted());
});

test('numbers go on where they were', async (t) => {
  const [{ database }, target] = [await source(t), await empty(t)];
  await moveRows(database, target);
  const [{ seq: last }] = (await target
    .selectFrom('audit')
    .select('seq')
    .orderBy('seq', 'desc')
    .limit(1)
    .execute()) as [{ seq: number }];
  const entry = { at: 1, tenant: 'a', actor: 'admin', action: 'x', target: 'y' };
  const nothing = { ip: null, request_id: null, before: null, after: null };
  const { seq } = await target
    .insertInto('audit')
    .values({ ...entry, ...nothing })
    .returning('seq')
    .executeTakeFirstOrThrow();
  assert.equal(seq, last + 1);
  assert.deepEqual(countedTables, ['audit', 'files', 'jobs', 'batches', 'changes']);
});

test('again it finds them there; what holds anything else is refused and stays as it is', async (t) => {
  const [{ database }, target] = [await source(t), await empty(t)];
  const { rows } = await moveRows(database, target);
  assert.deepEqual(await moveRows(database, target), { rows, isNew: false });
  await target.updateTable('audit').set({ target: 'changed' }).where('at', '=', 7).execute();
  await assert.rejects(moveRows(database, target), { code: 'invalid_config' });
  assert.equal(await countOf(target), rows);
  const other = await empty(t);
  await other.insertInto('tenants').values({ name: 'z', created_at: 1, disabled_at: null, quota: null }).execute();
  await assert.rejects(moveRows(database, other), { code: 'invalid_config' });
  assert.equal(await countOf(other), 1);
});

test('wherever it breaks off there is nothing, and the next run moves all', async (t) => {
  const [{ database }, target] = [await source(t), await empty(t)];
  const rows = await countOf(database);
  let [count, failAt] = [0, 1];
  const plugin: KyselyPlugin = {
    transformQuery({ node }) {
      count++;
      if (count === failAt) throw new Error('broken off');
      return node;
    },
    transformResult: async ({ result }) => result,
  };
  for (; ; failAt += 3) {
    count = 0;
    const said = await moveRows(database, target.withPlugin(plugin)).catch((error: Error) => error.message);
    if (count < failAt) {
      assert.deepEqual(said, { rows, isNew: true });
      return t.diagnostic(`${count} queries`);
    }
    assert.equal(said, 'broken off');
    assert.equal(await countOf(target), 0);
  }
});

test('contents are put once, and what is damaged is said and left out', async (t) => {
  const { dataDir, database } = await source(t);
  const store = memoryStore();
  const blobs = join(dataDir, 'adapters', 'blobs');
  const [first, second] = readdirSync(blobs).sort();
  writeFileSync(join(blobs, first!, 'adapter_model.safetensors'), 'x');
  store.isAway = true;
  await assert.rejects(moveContents(dataDir, database, store, quiet), { code: 'storage_unavailable' });
  store.isAway = false;
  const moved = await moveContents(dataDir, database, store, quiet);
  assert.deepEqual(moved, { adapters: 3, files: 3, damaged: [`sha256:${first}`] });
  assert.equal(store.objects.size, 3 * 2 + 3);
  const whole = new Map(store.objects);
  // What the cache has let go of is in the store.
  rmSync(join(blobs, second!), { recursive: true });
  assert.deepEqual(await moveContents(dataDir, database, store, quiet), moved);
  assert.deepEqual(store.objects, whole);

  const elsewhere = await testRegistry(t, {
    ...{ database, folder: join(folder(t), 'adapters') },
    shared: { store, cacheBytes: 2 ** 40 },
  });
  let served = 0;
  for (const tenant of ['a', 'b']) {
    for (const { name, version, digest } of await elsewhere.list(tenant, { after: null, limit: 100 })) {
      const lease = elsewhere.lease(tenant, `${name}@${version}`);
      if (digest === `sha256:${first}`) await assert.rejects(lease, { code: 'adapter_corrupt' });
      else (await lease).release();
      served++;
    }
  }
  assert.ok(served >= 3);
  assert.equal((await upload(elsewhere, 'new', 9)).created, true);
  await elsewhere.close();
});
