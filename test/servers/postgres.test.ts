// What concerns PostgreSQL alone: several servers that start at once, the schema's version, a database that is away,
// and the message where it refuses access.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { sql } from 'kysely';
import { exclusively, openDatabase } from '../../src/storage/database.ts';
import { openOwnDatabase, readIdentity } from '../../src/storage/identity.ts';
import { keyTable } from '../../src/storage/key-table.ts';
import { migrations } from '../../src/storage/migrations/index.ts';
import { lockServer } from '../../src/storage/postgres/server-lock.ts';
import { createDatabaseOn, startPostgres, withClient } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { waitFor } from '../helpers/waits.ts';

const needed = { skip: withoutPostgres };
const newUrl = () => createDatabaseOn(postgresForTests!);

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'lorikeet-postgres-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('servers that start at once on an empty database make one schema', needed, async () => {
  const url = await newUrl();
  const opened = await Promise.all(Array.from({ length: 5 }, () => openDatabase(url)));
  const { rows } = await withClient(url, (client) => client.query('select * from schema_version'));
  assert.deepEqual(rows, [{ version: String(migrations.length), oldest: rows[0].oldest }]);
  await Promise.all(opened.map((database) => database.destroy()));
});

test('a server waits for one that changes the schema, longer than for any other lock', needed, async () => {
  const url = await newUrl();
  const { opening } = await withClient(url, async (client) => {
    await client.query("begin; select pg_advisory_xact_lock(hashtextextended('lorikeet schema', 0))");
    const opening = openDatabase(url);
    assert.equal(await Promise.race([opening, setTimeout(12_000, 'waits')]), 'waits');
    return { opening };
  });
  await (await opening).destroy();
});

test("another program's database, and one that is too new, are left alone", needed, async () => {
  const other = await newUrl();
  await withClient(other, (client) => client.query('create table theirs (x int)'));
  await assert.rejects(openDatabase(other), { code: 'database_invalid' });
  const url = await newUrl();
  await (await openDatabase(url)).destroy();
  const set = (oldest: number) =>
    withClient(url, (client) => client.query(`update schema_version set version = 1000, oldest = ${oldest}`));
  // A newer server has added migrations, and allows this version to continue.
  await set(migrations.length);
  await (await openDatabase(url)).destroy();
  await set(migrations.length + 1);
  await assert.rejects(openDatabase(url), { code: 'invalid_config' });
});

test('a data dir and its database know each other', needed, async (t) => {
  const [mine, theirs, url] = [folder(t), folder(t), await newUrl()];
  const options = { newId: () => 'the-id', now: () => 1 };
  await (await openOwnDatabase(mine, url, options)).destroy();
  assert.equal(readIdentity(mine)?.id, 'the-id');
  await (await openOwnDatabase(mine, url, options)).destroy();
  await assert.rejects(openOwnDatabase(theirs, url, options), /belongs to another data dir/);
  await assert.rejects(openOwnDatabase(mine, await newUrl(), options), /is empty, but the data dir/);
  await (await openOwnDatabase(theirs, url, { ...options, isShared: true })).destroy();
  assert.equal(readIdentity(theirs)?.id, 'the-id');
});

test('what one key names never overlaps', needed, async () => {
  const url = await newUrl();
  const [one, two] = [await openDatabase(url), await openDatabase(url)];
  let inside = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setImmediate(resolve));
    inside--;
  };
  await Promise.all(Array.from({ length: 20 }, (_, i) => exclusively(i % 2 === 0 ? one : two, 'k', work)));
  assert.equal(most, 1);
  await Promise.all([one.destroy(), two.destroy()]);
});

test('a database that lets nobody in is said without its password', needed, async () => {
  const url = new URL(await newUrl());
  url.password = 'hidden';
  url.username = 'nobody';
  await assert.rejects(openDatabase(url.href), (error: Error & { code: string }) => {
    assert.equal(error.code, 'invalid_config');
    assert.match(error.message, /postgres:\/\/127\.0\.0\.1:\d+\/test_\w+ refuses this server/);
    assert.doesNotMatch(error.message, /hidden/);
    return true;
  });
});

test('a database that is away is an error with a code, and is used again when it is back', needed, async (t) => {
  const server = await startPostgres();
  t.after(() => server.remove());
  const database = await openDatabase(await server.createDatabase());
  const keys = keyTable(database);
  assert.equal(await keys.any(), false);
  // One query is in the middle of a transaction, the other comes later.
  const cut = exclusively(database, 'k', async (transaction) => {
    await server.stop();
    await sql`select 1`.execute(transaction);
  });
  await assert.rejects(cut, { code: 'storage_unavailable' });
  await assert.rejects(keys.any(), { code: 'storage_unavailable' });
  await server.start();
  assert.equal(await keys.any(), false);
  await database.destroy();
});

test('one server at a time; who lost the database unseen takes it again, or is told', needed, async (t) => {
  const server = await startPostgres();
  t.after(() => server.remove());
  const url = await server.createDatabase();
  const again: (() => void)[] = [];
  const after = (_ms: number, call: () => void) => {
    again.push(call);
    return () => {};
  };
  const { promise: lost, resolve: onLost } = Promise.withResolvers<void>();
  const take = () => lockServer(url, { after }, onLost);
  const isTaken = (): Promise<boolean> =>
    withClient(url, async (client) => {
      const { rows } = await client.query("select 1 from pg_locks where locktype = 'advisory' and granted");
      return rows.length > 0;
    });

  const first = await take();
  await assert.rejects(take(), /Another Lorikeet server uses the database postgres:/);
  await first.release();
  const second = await take();
  const breakOff = async () => {
    await server.stop();
    await server.start();
    await waitFor('it wants to try again', () => again.length > 0);
  };
  await breakOff();
  again.pop()!();
  await waitFor('the lock is taken', isTaken);
  await breakOff();
  const third = await take();
  again.pop()!();
  await lost;
  await Promise.all([second.release(), third.release()]);
});
