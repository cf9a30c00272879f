// Every call to the file system and every query fails once: nothing acknowledged is lost, nothing incomplete is seen,
// and the registry continues.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test, { type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type KyselyPlugin, sql } from 'kysely';
import type { AdapterRegistry } from '../../src/registry/adapter-registry.ts';
import { type Database, openDatabase } from '../../src/storage/database.ts';
import { type Files, nodeFiles } from '../../src/storage/files.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { byUpload, testRegistry, upload } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';
import { faultyFiles } from './faulty-files.ts';
import { assertIntact } from './intact.ts';

/** What a registry acknowledged: names that must be there, and names that must not. */
type Said = { readonly there: Set<string>; readonly gone: Set<string>; readonly errors: unknown[] };

/** Uploads two adapters, one of them in parts, deletes an older one, and records what succeeded. */
async function useIt(registry: AdapterRegistry): Promise<Said> {
  const said: Said = { there: new Set(), gone: new Set(), errors: [] };
  const attempt = (work: Promise<unknown>) =>
    work.then(
      () => true,
      (error) => {
        said.errors.push(error);
        return false;
      },
    );
  if (await attempt(upload(registry, 'whole', 2))) said.there.add('whole');
  if (await attempt(uploadInParts(registry, 'parts', 3))) said.there.add('parts');
  if (await attempt(registry.delete('default', 'old', null))) said.gone.add('old');
  return said;
}

async function uploadInParts(registry: AdapterRegistry, name: string, seed: number): Promise<void> {
  const { config, weights } = tinyAdapter(seed);
  const digest = `sha256:${createHash('sha256').update(weights).digest('hex')}`;
  for (const [offset, end] of [
    [0, 100],
    [100, weights.length],
  ] as const) {
    const bytes = Readable.from([weights.subarray(offset, end)]);
    await registry.appendUpload('default', digest, { offset, total: weights.length, bytes });
  }
  const staged = await registry.stage('default');
  try {
    await staged.config(config);
    await staged.uploadedWeights('default', digest);
    await staged.publish(name, byUpload);
  } finally {
    await staged.discard();
  }
}

/** One run with a fault. @returns what was acknowledged; null where even opening failed */
async function run(t: TestContext, files: Files, faulty: (database: Database) => Database): Promise<Said | null> {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  const first = await testRegistry(t, { folder, database });
  await upload(first, 'old', 0);
  await upload(first, 'kept', 1);
  await first.close();

  const registry = await testRegistry(t, { folder, database: faulty(database), files }).catch(() => null);
  const said = registry === null ? null : await useIt(registry);
  await registry?.close();

  const again = await testRegistry(t, { folder, database });
  // Contents that could not be read once are read again.
  while ((await again.find('default', 'kept')).state === 'corrupt') await setTimeout(1);
  const names = new Set((await assertIntact(again, folder, ['default'])).map(({ name }) => name));
  assert.ok(names.has('kept'));
  for (const name of said?.there ?? []) assert.ok(names.has(name), `${name} was acknowledged`);
  for (const name of said?.gone ?? []) assert.ok(!names.has(name), `${name} was deleted`);
  // Whatever failed succeeds when it is repeated.
  await upload(again, 'whole', 2);
  await again.delete('default', 'old', null).catch(({ code }) => assert.equal(code, 'adapter_not_found'));
  await again.close();
  await database.destroy();
  return said;
}

for (const { code, isLasting } of [
  { code: 'EIO', isLasting: false },
  { code: 'ENOSPC', isLasting: true },
] as const) {
  const what = isLasting ? 'all calls from the n-th on fail' : 'the n-th call fails';
  test(`a file system of which ${what}: ${code}`, async (t) => {
    let starts = 0;
    for (let at = 1; ; at++) {
      const { files, calls } = faultyFiles({ at, code, isLasting });
      const said = await run(t, files, (database) => database);
      if (calls.count < at) {
        t.diagnostic(`${at - 1} calls, ${starts} of which a start depends on`);
        assert.deepEqual(said?.errors, []);
        return;
      }
      if (said === null) starts++;
      for (const error of said?.errors ?? []) {
        if (code === 'ENOSPC') assert.match((error as { code: string }).code, /storage_full|ENOSPC/);
      }
    }
  });
}

test('a database of which the n-th query fails', async (t) => {
  for (let at = 1; ; at++) {
    let count = 0;
    const plugin: KyselyPlugin = {
      transformQuery({ node }) {
        count++;
        if (count === at) throw Object.assign(new Error('database or disk is full'), { errcode: 13 });
        return node;
      },
      transformResult: async ({ result }) => result,
    };
    const said = await run(t, nodeFiles, (database) => database.withPlugin(plugin));
    if (count < at) {
      t.diagnostic(`${at - 1} queries`);
      assert.deepEqual(said?.errors, []);
      return;
    }
  }
});

test('a full database says so', async (t) => {
  const database = await openDatabase(join(temporaryFolder(t), 'lorikeet.db'));
  const registry = await testRegistry(t, { database });
  await upload(registry, 'a', 0);
  await sql`PRAGMA max_page_count = 1`.execute(database);
  const createdBy = 'x'.repeat(100_000);
  await assert.rejects(upload(registry, 'b', 1, { createdBy }), { code: 'storage_full' });
  assert.equal((await assertIntact(registry, registry.folder, ['default'])).length, 1);
  await sql`PRAGMA max_page_count = 1000000`.execute(database);
  assert.equal((await upload(registry, 'b', 1, { createdBy })).adapter.version, 1);
  await registry.close();
  await database.destroy();
});
