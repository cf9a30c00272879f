// A data dir belongs to its database: another, an empty, a missing or a damaged one is refused before anything is
// changed.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { lockDatabase } from '../../src/storage/data-dir.ts';
import { closeForGood, openOwnDatabase, readIdentity } from '../../src/storage/identity.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'lorikeet-identity-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

let ids = 0;
const open = async (dataDir: string, path = join(dataDir, 'lorikeet.db')) => {
  const database = await openOwnDatabase(dataDir, path, { newId: () => `id-${++ids}`, now: () => 1 });
  await database.destroy();
};
const isRefused = (pattern: RegExp) => (error: { code?: string; message: string }) => {
  assert.equal(error.code, 'database_invalid', error.message);
  assert.match(error.message, pattern);
  assert.match(error.message, /lorikeet restore/);
  return true;
};

test('a new data dir and its database know each other, also after a start that was cut short', async (t) => {
  const dataDir = folder(t);
  await open(dataDir);
  await open(dataDir);
  const identity = readIdentity(dataDir)!;
  assert.deepEqual([identity.isBound, identity.isClosed], [true, false]);
  const path = join(dataDir, 'identity.json');
  writeFileSync(path, JSON.stringify({ ...identity, isBound: false }));
  await open(dataDir);
  assert.deepEqual(readIdentity(dataDir), identity);
  closeForGood(dataDir);
  await open(dataDir);
  assert.equal(readIdentity(dataDir)!.isClosed, true);
});

test('a lost, an empty and another database are refused, and nothing is made', async (t) => {
  const [mine, theirs] = [folder(t), folder(t)];
  await Promise.all([open(mine), open(theirs)]);
  await assert.rejects(open(mine, join(theirs, 'lorikeet.db')), isRefused(/belongs to another data dir/));
  const path = join(mine, 'lorikeet.db');
  await assert.rejects(open(mine, join(mine, 'other.db')), isRefused(/missing/));
  assert.ok(!existsSync(join(mine, 'other.db')));
  writeFileSync(path, '');
  await assert.rejects(open(mine), isRefused(/empty/));
  rmSync(path);
  await assert.rejects(open(mine), isRefused(/missing/));
  assert.ok(!existsSync(path));
});

test('a data dir of an older version that lost its database is refused: its content shows its use', async (t) => {
  const dataDir = folder(t);
  mkdirSync(join(dataDir, 'adapters', 'blobs', 'f'.repeat(64)), { recursive: true });
  await assert.rejects(open(dataDir), isRefused(/has been in use/));
  assert.ok(!existsSync(join(dataDir, 'lorikeet.db')));
});

test('damage is found: a header, a cut, garbage, a flipped page, another program’s file', async (t) => {
  const dataDir = folder(t);
  await open(dataDir);
  const path = join(dataDir, 'lorikeet.db');
  const whole = readFileSync(path);
  const damages: Record<string, Buffer> = {
    header: Buffer.concat([Buffer.alloc(100), whole.subarray(100)]),
    cut: whole.subarray(0, whole.length - 8192),
    garbage: Buffer.alloc(whole.length, 'x'),
    page: Buffer.concat([whole.subarray(0, 8192), Buffer.alloc(4096, 7), whole.subarray(12_288)]),
  };
  for (const [what, bytes] of Object.entries(damages)) {
    writeFileSync(path, bytes);
    await assert.rejects(open(dataDir), isRefused(/cannot be used/), what);
    assert.deepEqual(readFileSync(path), bytes, `${what}: nothing was changed`);
  }
  writeFileSync(path, whole);
  await open(dataDir);
  rmSync(path);
  const foreign = new DatabaseSync(path);
  foreign.exec('CREATE TABLE songs (title TEXT)');
  foreign.close();
  await assert.rejects(open(dataDir), isRefused(/another program/));
});

test('two servers on one database, whatever their data dirs', async (t) => {
  const dataDir = folder(t);
  await open(dataDir);
  const unlock = lockDatabase(join(dataDir, 'lorikeet.db'));
  assert.throws(() => lockDatabase(join(dataDir, 'lorikeet.db')), { code: 'invalid_config' });
  unlock();
  lockDatabase(join(dataDir, 'lorikeet.db'))();
});
