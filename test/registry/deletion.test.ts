// A deletion drains, and is completed after a restart.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { testRegistry, upload } from '../helpers/test-registry.ts';

test('admission stops at once; the files go with the last lease', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  const leases = await Promise.all([registry.lease('default', 'a'), registry.lease('default', 'a@1')]);
  const { files } = leases[0]!;
  let isGone = false;
  const gone = registry.delete('default', 'a', null).then(() => {
    isGone = true;
  });
  const second = registry.delete('default', 'a', 1);
  // The database has a thread of its own, so its answer takes some turns of the event loop.
  while ((await registry.find('default', 'a@1')).state !== 'deleting') await new Promise(setImmediate);
  await assert.rejects(registry.lease('default', 'a'), { code: 'adapter_deleting' });
  leases[0]!.release();
  leases[0]!.release();
  await new Promise(setImmediate);
  assert.ok(existsSync(files.weights) && !isGone, 'the second lease still holds it');
  leases[1]!.release();
  await Promise.all([gone, second]);
  assert.ok(!existsSync(files.weights));
  assert.deepEqual(readdirSync(join(registry.folder, 'staging')), []);
  await assert.rejects(registry.find('default', 'a'), { code: 'adapter_not_found' });
});

test('a version number is never used twice', async (t) => {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  const registry = await testRegistry(t, { folder, database });
  await upload(registry, 'a', 1);
  await upload(registry, 'a', 2);
  await registry.delete('default', 'a', 2);
  assert.equal((await upload(registry, 'a', 2)).adapter.version, 3);
  await registry.delete('default', 'a', null);
  await registry.close();
  const again = await testRegistry(t, { folder, database });
  assert.equal((await upload(again, 'a', 1)).adapter.version, 4);
  await again.close();
  await database.destroy();
});

test('a version that an alias points to stays; a whole name goes with its aliases', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  await upload(registry, 'a', 2);
  await registry.setAlias('default', {
    name: 'a',
    alias: 'prod',
    targets: [{ version: 1, weight: 1 }],
    expected: null,
  });
  await assert.rejects(registry.delete('default', 'a', 1), { code: 'invalid_parameter', message: /a:prod/ });
  await registry.delete('default', 'a', 2);
  await registry.delete('default', 'a', null);
  await upload(registry, 'a', 1);
  await assert.rejects(registry.lease('default', 'a:prod'), { code: 'alias_not_found' });
});

test('the same content can come back while it is being deleted', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  const lease = await registry.lease('default', 'a');
  const gone = registry.delete('default', 'a', null);
  const { adapter, created } = await upload(registry, 'a', 1);
  assert.deepEqual([adapter.version, created], [2, true]);
  assert.equal((await registry.lease('default', 'a')).adapter.version, 2);
  lease.release();
  await gone;
  assert.ok(existsSync(lease.files.weights), 'the second version has the same content');
  assert.deepEqual(
    (await registry.versions('default', 'a')).map(({ version }) => version),
    [2],
  );
});

test('a deletion that the end of the process cut short is finished at the next start', async (t) => {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  const registry = await testRegistry(t, { folder, database });
  await upload(registry, 'a', 1);
  await upload(registry, 'b', 2);
  const lease = await registry.lease('default', 'a');
  const cut = assert.rejects(registry.delete('default', 'a', null), { code: 'server_draining' });
  await new Promise(setImmediate);
  await registry.close();
  await cut;
  lease.release();
  const again = await testRegistry(t, { folder, database });
  await again.swept;
  await assert.rejects(again.find('default', 'a'), { code: 'adapter_not_found' });
  assert.equal(readdirSync(join(folder, 'blobs')).length, 1);
  await again.close();
  await database.destroy();
});

test('publishing and deleting the same content over and over', async (t) => {
  const registry = await testRegistry(t);
  const work = async (name: string) => {
    for (let turn = 0; turn < 30; turn++) {
      await upload(registry, name, 1);
      const { files, release } = await registry.lease('default', name);
      assert.ok(existsSync(files.weights) && existsSync(files.config));
      const gone = registry.delete('default', name, null);
      release();
      await gone;
    }
  };
  await Promise.all(['a', 'b', 'c', 'd'].map(work));
  assert.deepEqual(readdirSync(join(registry.folder, 'blobs')), []);
});
