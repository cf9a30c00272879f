// A database that takes no writes, or that another program has locked: reads, authentication and generation continue,
// the event loop does not stop, and everything acknowledged is there.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sql } from 'kysely';
import { systemClock } from '../../src/core/clock.ts';
import { onBehalfOf, server } from '../../src/core/on-behalf.ts';
import { type Database, openDatabase } from '../../src/storage/database.ts';
import { storageHealth } from '../../src/storage/health.ts';
import { openTenancy } from '../../src/tenants/tenancy.ts';
import { testApp } from '../helpers/app.ts';

/** Milliseconds that a backup or a VACUUM of another program may hold the lock. */
const foreignLockMs = 30_000;

async function onDisk(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-storage-'));
  const path = join(folder, 'lorikeet.db');
  const database = await openDatabase(path);
  t.after(async () => {
    await database.destroy();
    rmSync(folder, { recursive: true });
  });
  return { path, database };
}

/** An app whose keys are in this database, and a key that was used long ago. */
async function served(t: TestContext, database: Database) {
  const time = { now: systemClock.now(), passed: 0 };
  const clock = { now: () => time.now, monotonic: () => systemClock.monotonic() + time.passed };
  const tenancy = await openTenancy(database, clock);
  const testing = await testApp(t, { deps: { ...tenancy, clock } });
  const { key } = await tenancy.keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const headers = { authorization: `Bearer ${key}` };
  const generate = async () => {
    // Rows of keys in memory are outdated, so that each request reads the database.
    time.passed += 10_000;
    time.now += 120_000;
    const payload = { prompt: 'x', max_tokens: 1 };
    return (await testing.app.inject({ method: 'POST', url: '/v1/generate', headers, payload })).statusCode;
  };
  return { ...testing, ...tenancy, generate };
}

/** The longest time in milliseconds in which the event loop did nothing else. */
async function longestStop(work: () => Promise<unknown>): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return delay.max / 1e6;
}

test('another program holds the write lock: reads and keys work, writes are refused, the loop goes on', async (t) => {
  const { path, database } = await onDisk(t);
  const { generate, keys } = await served(t, database);
  assert.equal(await generate(), 200);
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  const stop = await longestStop(async () => {
    const refused = assert.rejects(keys.create({ tenant: 'b', name: 'n', scopes: ['generate'] }), {
      code: 'storage_busy',
    });
    for (let i = 0; i < 20; i++) assert.equal(await generate(), 200);
    await refused;
    await assert.rejects(keys.flush(), { code: 'storage_busy' });
    assert.equal((await keys.list()).length, 1);
  });
  other.exec('ROLLBACK');
  other.close();
  t.diagnostic(`longest stop of the event loop ${stop.toFixed(1)} ms`);
  await keys.create({ tenant: 'b', name: 'n', scopes: ['generate'] });
  await keys.flush();
});

test('another program holds the write lock for half a minute: nothing waits for it but writes', async (t) => {
  const { path, database } = await onDisk(t);
  const { generate, keys } = await served(t, database);
  assert.equal(await generate(), 200);
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  const began = systemClock.monotonic();
  let asked = 0;
  const stop = await longestStop(async () => {
    for (; systemClock.monotonic() - began < foreignLockMs; asked++) {
      assert.equal(await generate(), 200);
      await wait(200);
    }
    await assert.rejects(keys.create({ tenant: 'b', name: 'n', scopes: ['generate'] }), { code: 'storage_busy' });
  });
  other.exec('ROLLBACK');
  other.close();
  t.diagnostic(`${asked} requests answered; longest stop of the event loop ${stop.toFixed(1)} ms`);
  await keys.create({ tenant: 'b', name: 'n', scopes: ['generate'] });
  await keys.flush();
});

test('the wall clock jumps by days, back and forth: requests, limits and accounts go on', async (t) => {
  const { database } = await onDisk(t);
  let jumpMs = 0;
  const clock = { now: () => systemClock.now() + jumpMs, monotonic: systemClock.monotonic };
  const tenancy = await openTenancy(database, clock);
  const testing = await testApp(t, { database, deps: { ...tenancy, clock }, quota: { requests_per_minute: 1000 } });
  const { key } = await tenancy.keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const headers = { authorization: `Bearer ${key}` };
  const dayMs = 86_400_000;
  const jumps = [0, dayMs, -dayMs, 30 * dayMs, 0, -30 * dayMs, 0];
  let tokens = 0;
  for (jumpMs of jumps) {
    const payload = { prompt: 'x', max_tokens: 3, ignore_eos: true, timeout_ms: 60_000 };
    const answer = await testing.app.inject({ method: 'POST', url: '/v1/generate', headers, payload });
    assert.equal(answer.statusCode, 200, `at ${jumpMs / dayMs} days: ${answer.body}`);
    tokens += answer.json().usage.completion_tokens;
    await tenancy.keys.flush();
  }
  jumpMs = 0;
  await testing.service.usage.close();
  const { data } = (await testing.app.inject({ url: '/v1/usage?limit=100', headers })).json();
  const counted = (field: string) => data.reduce((sum: number, row: Record<string, number>) => sum + row[field]!, 0);
  assert.deepEqual([counted('requests'), counted('completion_tokens')], [jumps.length, tokens]);
});

test('a database that cannot be read: keys that were used go on', async (t) => {
  const { database } = await onDisk(t);
  const { generate } = await served(t, database);
  assert.equal(await generate(), 200);
  await database.destroy();
  await assert.rejects(database.selectFrom('keys').selectAll().execute());
  assert.equal(await generate(), 200);
});

test('a database that takes no writes: generation goes on, changes are refused with a code', async (t) => {
  const { database } = await onDisk(t);
  const { generate, keys } = await served(t, database);
  await sql`PRAGMA query_only = 1`.execute(database);
  for (let i = 0; i < 3; i++) assert.equal(await generate(), 200);
  await assert.rejects(keys.create({ tenant: 'b', name: 'n', scopes: ['generate'] }), { code: 'storage_full' });
  await assert.rejects(keys.flush(), { code: 'storage_full' });
  await sql`PRAGMA query_only = 0`.execute(database);
  await keys.flush();
  assert.ok((await keys.list())[0]!.lastUsedAt! > systemClock.now());
});

test('a full database: what was acknowledged stays, and it goes on when there is room', async (t) => {
  const { database } = await onDisk(t);
  const { generate, keys } = await served(t, database);
  const { rows } = await sql<{ page_count: number }>`PRAGMA page_count`.execute(database);
  await sql.raw(`PRAGMA max_page_count = ${rows[0]!.page_count}`).execute(database);
  let made = 1;
  const name = 'x'.repeat(4000);
  await assert.rejects(
    async () => {
      for (;;) {
        await keys.create({ tenant: 'a', name, scopes: ['generate'] });
        made++;
      }
    },
    { code: 'storage_full' },
  );
  assert.equal(await generate(), 200);
  assert.equal((await keys.list()).length, made);
  await sql`PRAGMA max_page_count = 100000`.execute(database);
  await keys.create({ tenant: 'a', name, scopes: ['generate'] });
});

test('a disk that is full: generation goes on, changes are refused, and it is said', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    rmSync(folder, { recursive: true });
    t.skip('needs the right to mount');
    return;
  }
  const database = await openDatabase(join(folder, 'lorikeet.db'));
  t.after(async () => {
    await database.destroy();
    execFileSync('umount', [folder]);
    rmSync(folder, { recursive: true });
  });
  const { generate, keys } = await served(t, database);
  assert.equal(await generate(), 200);
  assert.throws(() => writeFileSync(join(folder, 'filling'), Buffer.alloc(4 * 1024 ** 2)), { code: 'ENOSPC' });
  let made = 1;
  await assert.rejects(
    async () => {
      for (; made < 100; made++) await keys.create({ tenant: 'a', name: 'x'.repeat(10_000), scopes: ['generate'] });
    },
    { code: 'storage_full' },
  );
  for (let i = 0; i < 3; i++) assert.equal(await generate(), 200);
  const health = storageHealth(database, folder, systemClock);
  health.problem();
  await wait(200);
  assert.equal(health.problem(), 'storage_full');
  rmSync(join(folder, 'filling'));
  assert.equal((await keys.list()).length, made);
  await keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
});

/** A function that asserts what the next check of storage finds. */
function checkedHealth(database: Database, folder: string) {
  const time = { now: 0 };
  const health = storageHealth(database, folder, { now: () => 0, monotonic: () => time.now });
  return async (expected: string | null) => {
    time.now += 10_000;
    health.problem();
    for (let i = 0; i < 500 && health.problem() !== expected; i++) await wait(10);
    assert.equal(health.problem(), expected);
  };
}

test('health: well, locked by another program, taking no writes', async (t) => {
  const { path, database } = await onDisk(t);
  await sql`INSERT INTO installation VALUES ('id', 1)`.execute(database);
  const looked = checkedHealth(database, join(path, '..'));
  await looked(null);
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  await looked('storage_busy');
  other.exec('ROLLBACK');
  other.close();
  await looked(null);
  await sql`PRAGMA query_only = 1`.execute(database);
  await looked('storage_full');
});

test('health: neither the folder nor the database can be reached', async (t) => {
  const { path, database } = await onDisk(t);
  await checkedHealth(database, join(path, '..', 'gone'))('storage_unavailable');
  await database.destroy();
  await checkedHealth(database, join(path, '..'))('storage_unavailable');
});

test('health: the folder is mounted read-only, wherever the database is', async (t) => {
  const { path, database } = await onDisk(t);
  const folder = join(path, '..', 'mounted');
  mkdirSync(folder);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=64m', 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    t.skip('needs the right to mount');
    return;
  }
  try {
    await checkedHealth(database, folder)('storage_full');
  } finally {
    execFileSync('umount', [folder]);
  }
});

test('transactions take turns, and a reader never sees half of one', async (t) => {
  const { database } = await onDisk(t);
  const { keys } = await served(t, database);
  const { record } = await keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  let prefix = record.prefix;
  const seen = new Set<number>();
  const rotations = (async () => {
    for (let i = 0; i < 20; i++) prefix = (await keys.rotate(prefix, 0, null).catch(() => ({ record }))).record.prefix;
  })();
  const watching = (async () => {
    for (let i = 0; i < 200; i++) {
      const rows = await database.selectFrom('keys').select(['prefix', 'replaced_by']).execute();
      const known = new Set(rows.map((row) => row.prefix));
      for (const row of rows) assert.ok(row.replaced_by === null || known.has(row.replaced_by));
      seen.add(rows.length);
    }
  })();
  await Promise.all([rotations, watching]);
});

test('a tenant’s thousand changes and lists hold up nobody else’s one', async (t) => {
  const { database } = await onDisk(t);
  const { keys } = await served(t, database);
  const { record } = await keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const write = (): Promise<unknown> => keys.change(record.prefix, { name: 'm' });
  const read = (): Promise<unknown> => keys.list();
  for (const ask of [write, read]) {
    let done = 0;
    const flood = Array.from({ length: 400 }, () => onBehalfOf('a', ask).then(() => done++));
    await onBehalfOf('b', ask);
    const before = done;
    await onBehalfOf(server, ask);
    const later = done;
    await Promise.all(flood);
    // Queries that were under way already come first.
    assert.ok(before < 40 && later < 80, `${before} and ${later} of 400 went before`);
  }
});

test('the files of a database are their owner’s alone', async (t) => {
  const { path, database } = await onDisk(t);
  await served(t, database);
  for (const name of [path, `${path}-wal`, `${path}-shm`]) assert.equal(statSync(name).mode & 0o777, 0o600, name);
});
