// A data dir of an older version opens and has everything; a backup of it, made while it is written to, is restored
// elsewhere and has everything too. Copies that are not whole are refused.

import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { backUp } from '../../src/backup/backup.ts';
import { restore } from '../../src/backup/restore.ts';
import { systemClock } from '../../src/core/clock.ts';
import { makeDataDir } from '../../src/storage/data-dir.ts';
import { openOwnDatabase } from '../../src/storage/identity.ts';
import { mergeTable } from '../../src/storage/merge-table.ts';
import { openTenancy } from '../../src/tenants/tenancy.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { testRegistry, upload } from '../helpers/test-registry.ts';

const fixtures = fileURLToPath(new URL('../fixtures/data-dirs', import.meta.url));
type Known = { readonly key: string; readonly revoked: string; readonly partial: string; readonly job: string };

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'lorikeet-backup-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const versions = readdirSync(fixtures).filter((name) => !name.endsWith('.json'));
const knownOf = (name: string) => JSON.parse(readFileSync(join(fixtures, `${name}.json`), 'utf8')) as Known;

/** A copy of a fixture that may be written to. */
function dataDirOf(t: TestContext, name: string): string {
  const dataDir = join(folder(t), 'data');
  cpSync(join(fixtures, name), dataDir, { recursive: true });
  makeDataDir(dataDir);
  return dataDir;
}

const databaseIn = (dataDir: string) => join(dataDir, 'lorikeet.db');

/** Opens all that a server opens. */
async function opened(t: TestContext, dataDir: string) {
  const options = { newId: () => 'the-id', now: systemClock.now };
  const database = await openOwnDatabase(dataDir, databaseIn(dataDir), options);
  const registry = await testRegistry(t, { folder: join(dataDir, 'adapters'), database });
  const training = await testJobs(t, { registry, folder: join(dataDir, 'training') });
  const close = async () => {
    await training.jobs.close(0);
    await registry.close();
    await database.destroy();
  };
  return { database, registry, training, tenancy: await openTenancy(database, systemClock), close };
}

async function assertHasAll(t: TestContext, dataDir: string, known: Known): Promise<void> {
  const { database, registry, training, tenancy, close } = await opened(t, dataDir);
  assert.equal((await tenancy.keys.verify(known.key))?.tenant, 'a');
  assert.equal(await tenancy.keys.verify(known.revoked), null);
  for (const reference of ['org/x', 'org/x@1', 'org/x:prod', 'trained']) {
    (await registry.lease('a', reference)).release();
  }
  (await registry.lease('b', 'y')).release();
  const [alias] = await registry.aliases('a', 'org/x');
  assert.deepEqual(
    alias?.targets.map(({ weight }) => weight),
    [0.25, 0.75],
  );
  assert.equal((await mergeTable(database).all()).length, 1);
  const job = await training.jobs.find('a', known.job);
  assert.deepEqual([job.state, job.adapter], ['succeeded', 'trained@1']);
  const files = await training.files.list('b', { after: null, limit: 10, newestFirst: true, purposes: ['fine-tune'] });
  assert.equal(files.length, 2);
  for (const file of files) assert.ok(existsSync(training.files.pathOf(file)));
  assert.deepEqual(
    registry.log.filter(({ level }) => level !== 'info'),
    [],
  );
  await close();
}

test('there is a data dir of each schema that was released', () => assert.deepEqual(versions, ['schema-4']));

for (const name of versions) {
  test(`${name} is upgraded with all that it has; the upload that was half there goes on`, async (t) => {
    const dataDir = dataDirOf(t, name);
    const known = knownOf(name);
    await assertHasAll(t, dataDir, known);
    await assertHasAll(t, dataDir, known);
    const { registry, close } = await opened(t, dataDir);
    assert.deepEqual(await registry.uploadOf('a', known.partial), {
      digest: known.partial,
      offset: 100,
      complete: false,
    });
    await close();
  });

  test(`${name}: a backup is restored elsewhere with all that it had`, async (t) => {
    const [dataDir, target, elsewhere] = [dataDirOf(t, name), join(folder(t), 'backup'), join(folder(t), 'new')];
    const known = knownOf(name);
    await assertHasAll(t, dataDir, known);
    const manifest = await backUp({ dataDir, database: databaseIn(dataDir), target, now: 0 });
    assert.deepEqual([manifest.adapters.length, manifest.files.length, manifest.damaged], [4, 3, []]);
    rmSync(dataDir, { recursive: true });
    await restore({ source: target, dataDir: elsewhere, database: databaseIn(elsewhere) });
    await assertHasAll(t, elsewhere, known);
  });
}

test('a backup beside a server that uploads and deletes is whole, again and again', async (t) => {
  const [dataDir, target] = [dataDirOf(t, 'schema-4'), join(folder(t), 'backup')];
  const { registry, close } = await opened(t, dataDir);
  let isOver = false;
  const busy = (async () => {
    for (let seed = 100; !isOver; seed++) {
      await upload(registry, 'busy', seed, { tenant: 'a' });
      if (seed % 2 === 0) await registry.delete('a', 'busy', null);
    }
  })();
  for (let round = 0; round < 4; round++) {
    const manifest = await backUp({ dataDir, database: databaseIn(dataDir), target, now: round });
    assert.deepEqual(manifest.damaged, []);
    const elsewhere = join(folder(t), 'new');
    await restore({ source: target, dataDir: elsewhere, database: databaseIn(elsewhere) });
    await assertHasAll(t, elsewhere, knownOf('schema-4'));
  }
  isOver = true;
  await busy;
  await close();
});

test('what is no whole backup is refused, and so is a data dir in use', async (t) => {
  const [dataDir, target] = [dataDirOf(t, 'schema-4'), join(folder(t), 'backup')];
  const into = () => {
    const elsewhere = join(folder(t), 'new');
    return { source: target, dataDir: elsewhere, database: databaseIn(elsewhere) };
  };
  await (await opened(t, dataDir)).close();
  await backUp({ dataDir, database: databaseIn(dataDir), target, now: 0 });
  await assert.rejects(restore({ ...into(), dataDir, database: databaseIn(dataDir) }), { code: 'invalid_config' });
  await assert.rejects(backUp({ dataDir, database: databaseIn(dataDir), target: dataDir, now: 0 }), {
    code: 'backup_invalid',
  });
  const blobs = join(target, 'adapters', 'blobs');
  const weights = join(blobs, readdirSync(blobs)[0]!, 'adapter_model.safetensors');
  const bytes = readFileSync(weights);
  writeFileSync(weights, Buffer.alloc(bytes.length));
  await assert.rejects(restore(into()), { code: 'backup_invalid' });
  // The next backup finds it and takes it again.
  await backUp({ dataDir, database: databaseIn(dataDir), target, now: 0 });
  assert.deepEqual(readFileSync(weights), bytes);
  await restore(into());
  rmSync(join(target, 'manifest.json'));
  await assert.rejects(restore(into()), { code: 'backup_invalid' });
});

test('an adapter that was damaged before is said, and the rest is backed up', async (t) => {
  const [dataDir, target] = [dataDirOf(t, 'schema-4'), join(folder(t), 'backup')];
  await (await opened(t, dataDir)).close();
  const blobs = join(dataDir, 'adapters', 'blobs');
  const [first] = readdirSync(blobs);
  writeFileSync(join(blobs, first!, 'adapter_model.safetensors'), 'x');
  const manifest = await backUp({ dataDir, database: databaseIn(dataDir), target, now: 0 });
  assert.deepEqual(manifest.damaged, [`sha256:${first}`]);
  const elsewhere = join(folder(t), 'new');
  await restore({ source: target, dataDir: elsewhere, database: databaseIn(elsewhere) });
  const { registry, close } = await opened(t, elsewhere);
  const errors = () => registry.log.filter(({ level }) => level === 'error');
  while (errors().length === 0) await setTimeout(1);
  assert.equal(errors()[0]!.digest, `sha256:${first}`);
  await close();
});
