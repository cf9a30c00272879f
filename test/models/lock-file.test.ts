import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { withLockFile } from '../../src/models/lock-file.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';

const times = { beatMs: 10, patienceMs: 100 };

test('one at a time, each exactly once, and no lock left', async (context) => {
  const path = join(temporaryFolder(context), 'lock');
  let inside = 0;
  let done = 0;
  const work = async () => {
    assert.equal(++inside, 1);
    // The pause is longer than the patience: a holder that works must not count as dead.
    await sleep(done === 0 ? 250 : 5);
    inside--;
    done++;
  };
  await Promise.all(Array.from({ length: 5 }, () => withLockFile(path, () => {}, work, times)));
  assert.equal(done, 5);
  assert.equal(existsSync(path), false);
});

test('the lock of a dead holder is taken over after the patience', async (context) => {
  const path = join(temporaryFolder(context), 'lock');
  writeFileSync(path, 'someone 3');
  let waited = false;
  const start = performance.now();
  await withLockFile(
    path,
    () => (waited = true),
    async () => {},
    times,
  );
  assert.ok(waited && performance.now() - start >= times.patienceMs);
});

test('a failure frees the lock and is passed on', async (context) => {
  const path = join(temporaryFolder(context), 'lock');
  const fail = () => Promise.reject(new Error('no'));
  await assert.rejects(
    withLockFile(path, () => {}, fail, times),
    /^Error: no$/,
  );
  assert.equal(existsSync(path), false);
});

test('who lost the lock does not free the next holder of it', async (context) => {
  const path = join(temporaryFolder(context), 'lock');
  await withLockFile(
    path,
    () => {},
    async () => writeFileSync(path, 'another 0'),
    times,
  );
  assert.equal(existsSync(path), true);
});

test('a folder that cannot be written is an error, not a wait', async (context) => {
  const path = join(temporaryFolder(context), 'missing', 'lock');
  await assert.rejects(
    withLockFile(
      path,
      () => {},
      async () => {},
      times,
    ),
    { code: 'ENOENT' },
  );
});
