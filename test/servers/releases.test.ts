// Servers of two releases side by side: the newer one changes the schema while the older one works on it.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Kysely } from 'kysely';
import { openDatabase, openPostgres } from '../../src/storage/database.ts';
import { migrations, oldestReader } from '../../src/storage/migrations/index.ts';
import { postgresVersion, setPostgresVersion } from '../../src/storage/postgres/open-postgres.ts';
import { fleet, generate, json, moveAlias, upload } from '../helpers/fleet.ts';
import { content } from '../helpers/fleet-load.ts';
import { createDatabaseOn, withClient } from '../helpers/postgres-server.ts';
import { postgresForTests, withoutPostgres } from '../helpers/test-database.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';

const needed = { skip: withoutPostgres };

type Column = {
  readonly name: string;
  readonly type: string;
  readonly nullable: string;
  readonly has_default: boolean;
};

const columnsOf = async (url: string): Promise<Map<string, Column>> => {
  const { rows } = await withClient(url, (client) =>
    client.query<Column>(`select table_name || '.' || column_name as name, data_type as type, is_nullable as nullable,
      column_default is not null or is_identity = 'YES' as has_default
      from information_schema.columns where table_schema = current_schema() and table_name <> 'schema_version'`),
  );
  return new Map(rows.map((row) => [row.name, row]));
};

/** Makes a database as a release with so many migrations had it. */
async function databaseOf(known: number): Promise<string> {
  const url = await createDatabaseOn(postgresForTests!);
  const database = await openPostgres(url);
  await database.transaction().execute(async (transaction) => {
    const db = transaction as unknown as Kysely<unknown>;
    await postgresVersion(db);
    for (const up of migrations.slice(0, known)) await up(db);
    await setPostgresVersion(db, known);
  });
  await database.destroy();
  return url;
}

test(
  'a migration only adds: what a server of a release before it reads and writes is still there',
  needed,
  async () => {
    for (let known = oldestReader; known < migrations.length; known++) {
      const url = await databaseOf(known);
      const before = await columnsOf(url);
      const tables = new Set([...before.keys()].map((name) => name.split('.')[0]));
      await (await openDatabase(url)).destroy();
      const after = await columnsOf(url);
      for (const [name, column] of before) assert.deepEqual(after.get(name), column, `${name} after ${known}`);
      for (const [name, { nullable, has_default: hasDefault }] of after) {
        if (before.has(name) || !tables.has(name.split('.')[0])) continue;
        assert.ok(nullable === 'YES' || hasDefault, `an older server leaves out ${name}`);
      }
    }
  },
);

const root = fileURLToPath(new URL('../..', import.meta.url));
const git = (...args: string[]) => spawnSync('git', args, { cwd: root, maxBuffer: 2 ** 30 });

/** The commit before the newest migration; null where the history does not go back so far. */
function commitBefore(): string | null {
  const folder = 'src/storage/migrations';
  const newest = readdirSync(join(root, folder))
    .filter((name) => /^\d/.test(name))
    .sort()
    .at(-1)!;
  const { stdout } = git('log', '--format=%H', '--diff-filter=A', '--', `${folder}/${newest}`);
  const added = stdout?.toString().trim().split('\n').at(-1) ?? '';
  const before = git('rev-parse', '--verify', '--quiet', `${added}^`);
  return added !== '' && before.status === 0 ? before.stdout.toString().trim() : null;
}

/** Unpacks what a server of that commit needs, with this checkout's packages. */
function checkout(t: TestContext, commit: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-release-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const { stdout } = git('archive', commit, 'package.json', 'src', 'native', 'wasm', 'adapters');
  execFileSync('tar', ['-x', '-C', folder], { input: stdout });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

const given = process.env.LORIKEET_TEST_OLD_RELEASE ?? null;
const older = given === null ? commitBefore() : null;
const withoutOlder =
  given === null && older === null ? 'needs the history, or LORIKEET_TEST_OLD_RELEASE=<folder>' : false;

test('a server of an older release beside one of this', {
  skip: withoutPostgres || withoutS3 || withoutOlder,
}, async (t) => {
  const oldRelease = given ?? checkout(t, older!);
  const url = await createDatabaseOn(postgresForTests!);
  const env = { LORIKEET_DATABASE_URL: url, LORIKEET_BLOB_URL: newBucketUrl() };
  const [old] = await fleet(t, [env], oldRelease);
  assert.equal((await upload(old!.url, 'x', content(1))).status, 201);
  const [young] = await fleet(t, [env]);
  const places = [old!, young!];
  for (let i = 0; i < 20; i++) {
    const by = places[i % 2]!;
    assert.equal((await upload(by.url, 'x', content(2 + i))).status, 201);
    assert.equal((await moveAlias(by.url, 'x', 1 + (i % 3))).status, 200);
    const texts = await Promise.all(places.map((place) => generate(place.url, 'x:prod')));
    assert.deepEqual(texts[0], texts[1]);
  }
  for (const { url: one } of places) assert.equal((await json(`${one}/v1/admin/replicas`)).data.length, 2);
});
