import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { lockDataDir, makeDataDir } from '../../src/storage/data-dir.ts';
import { databaseLocation, locationName } from '../../src/storage/location.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorikeet-data-'));
after(() => rmSync(folder, { recursive: true }));

const isRefusal = (error: unknown) =>
  error instanceof LorikeetError && error.code === 'invalid_config' && error.param === 'LORIKEET_DATA_DIR';

test('a data dir is made for its owner alone', () => {
  const path = join(folder, 'a', 'b');
  makeDataDir(path);
  makeDataDir(path);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.throws(() => makeDataDir(join(import.meta.filename, 'below-a-file')), isRefusal);
});

test('one server at a time holds it; a process that is killed lets it go', () => {
  makeDataDir(folder);
  const unlock = lockDataDir(folder);
  assert.throws(() => lockDataDir(folder), isRefusal);
  unlock();
  const module = new URL('../../src/storage/data-dir.ts', import.meta.url);
  const holder = `
    import { lockDataDir } from '${module}';
    lockDataDir('${folder}');
    process.kill(process.pid, 'SIGKILL');`;
  assert.throws(() => execFileSync(process.execPath, ['--input-type=module', '--eval', holder]), { signal: 'SIGKILL' });
  lockDataDir(folder)();
});

test("the database is a file in the data dir, or the URL's", () => {
  assert.equal(databaseLocation('/data', null), '/data/lorikeet.db');
  assert.equal(databaseLocation('/data', 'sqlite:keys.db'), '/data/keys.db');
  assert.equal(databaseLocation('/data', 'sqlite:///srv/keys.db'), '/srv/keys.db');
  assert.equal(databaseLocation('/data', 'postgres://u:secret@db/lorikeet'), 'postgres://u:secret@db/lorikeet');
  assert.equal(locationName('postgres://u:secret@db/lorikeet'), 'postgres://db/lorikeet');
  assert.throws(() => databaseLocation('/data', 'mysql://db/lorikeet'), /must be sqlite:<path> or postgres:/);
});
