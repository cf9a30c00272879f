import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { sql } from 'kysely';
import { openDatabase } from '../../src/storage/database.ts';
import { keyTable } from '../../src/storage/key-table.ts';

function file(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'lorikeet.db');
}

const row = {
  prefix: 'p',
  secret_hash: 'h',
  tenant: 't',
  name: 'n',
  scopes: 'generate',
  created_at: 1,
  last_used_at: null,
  revoked_at: null,
  expires_at: null,
  replaced_by: null,
  last_ip: null,
  adapters: null,
  quota: null,
  created_by: null,
};

test('what was written is there after a second opening', async (t) => {
  const path = file(t);
  const first = await openDatabase(path);
  await keyTable(first).insert(row);
  await first.destroy();
  const second = await openDatabase(path);
  assert.deepEqual({ ...(await keyTable(second).find('p')) }, row);
  await second.destroy();
});

test('a commit survives a power cut: WAL with full synchronisation', async (t) => {
  const db = await openDatabase(file(t));
  const pragma = async (name: string) =>
    Object.values((await sql.raw(`PRAGMA ${name}`).execute(db)).rows[0] as object)[0];
  assert.equal(await pragma('journal_mode'), 'wal');
  assert.equal(await pragma('synchronous'), 2);
  await db.destroy();
});

test('two processes see each other’s keys', async (t) => {
  const path = file(t);
  const server = await openDatabase(path);
  const commandLine = await openDatabase(path);
  assert.equal(await keyTable(server).any(), false);
  await keyTable(commandLine).insert(row);
  assert.equal(await keyTable(server).any(), true);
  await Promise.all([server.destroy(), commandLine.destroy()]);
});

test('processes that start at once make one schema', async (t) => {
  const path = file(t);
  const module = new URL('../../src/storage/database.ts', import.meta.url).href;
  const script = `const { openDatabase } = await import('${module}'); await (await openDatabase('${path}')).destroy();`;
  const start = () => promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
  await Promise.all([start(), start(), start()]);
  const db = await openDatabase(path);
  await keyTable(db).insert(row);
  await db.destroy();
});

test('a database of a newer version is left alone', async (t) => {
  const path = file(t);
  const db = await openDatabase(path);
  await sql`PRAGMA user_version = 1000`.execute(db);
  await db.destroy();
  await assert.rejects(openDatabase(path), { code: 'invalid_config' });
});

test('a prefix is unique', async (t) => {
  const db = await openDatabase(file(t));
  await keyTable(db).insert(row);
  await assert.rejects(keyTable(db).insert(row), /UNIQUE/);
  await db.destroy();
});
