// Moves a data dir to PostgreSQL and S3 by the command line: a server with an empty data dir then has everything.

import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/core/clock.ts';
import { openOwnDatabase } from '../../src/storage/identity.ts';
import { openStore } from '../../src/storage/open-storage.ts';
import { openTenancy } from '../../src/tenants/tenancy.ts';
import { createDatabaseOn } from '../helpers/postgres-server.ts';
import { cliIn } from '../helpers/run-cli.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { testRegistry } from '../helpers/test-registry.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';

const fixtures = fileURLToPath(new URL('../fixtures/data-dirs', import.meta.url));
const known = JSON.parse(readFileSync(join(fixtures, 'schema-4.json'), 'utf8'));

test('a data dir moves to PostgreSQL and S3', { skip: withoutPostgres || withoutS3 }, async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'lorikeet-migrate-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const dataDir = join(root, 'data');
  cpSync(join(fixtures, 'schema-4'), dataDir, { recursive: true });
  const options = { newId: () => 'the-id', now: systemClock.now };
  // The first start with this version gives both the same id.
  await (await openOwnDatabase(dataDir, join(dataDir, 'lorikeet.db'), options)).destroy();
  const [url, bucket] = [await createDatabaseOn(postgresForTests!), newBucketUrl()];
  const run = cliIn(root);

  const refused = await run(['migrate', '--to', 'mysql://x']);
  assert.equal(refused.code, 2);
  const moved = await run(['migrate', '--to', url, bucket, '--json']);
  assert.equal(moved.code, 0, moved.stderr + moved.stdout);
  const said = JSON.parse(moved.stdout);
  assert.deepEqual([said.adapters, said.files, said.damaged], [4, 3, []]);
  assert.ok(said.rows > 20);
  assert.deepEqual(
    ['lorikeet.db', 'lorikeet.db.moved'].map((name) => existsSync(join(dataDir, name))),
    [false, true],
  );
  const again = await run(['migrate', '--to', url]);
  assert.match(again.stderr, /There is no database/);
  // The data dir knows the new database and accepts no other.
  await assert.rejects(openOwnDatabase(dataDir, join(dataDir, 'lorikeet.db'), options), /is missing/);
  await (await openOwnDatabase(dataDir, url, options)).destroy();

  const elsewhere = join(root, 'elsewhere');
  cpSync(join(dataDir, 'identity.json'), join(elsewhere, 'identity.json'));
  const database = await openOwnDatabase(elsewhere, url, { ...options, isShared: true });
  const store = await openStore(bucket);
  const shared = { store, cacheBytes: 2 ** 40 };
  const registry = await testRegistry(t, { folder: join(elsewhere, 'adapters'), database, shared });
  const tenancy = await openTenancy(database, systemClock);
  assert.equal((await tenancy.keys.verify(known.key))?.tenant, 'a');
  assert.equal(await tenancy.keys.verify(known.revoked), null);
  for (const reference of ['org/x', 'org/x@1', 'org/x:prod', 'trained']) {
    (await registry.lease('a', reference)).release();
  }
  const training = await testJobs(t, { registry, folder: join(elsewhere, 'training') });
  assert.equal((await training.jobs.find('a', known.job)).adapter, 'trained@1');
  await training.jobs.close(0);
  await registry.close();
  await database.destroy();
  store.close();
});
