// What a start finds in the folder, and how it clears up beside serving.

import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import type { AdapterRegistry, AdapterState } from '../../src/registry/adapter-registry.ts';
import type { RegistryOptions } from '../../src/registry/options.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { type TestRegistry, testRegistry, upload } from '../helpers/test-registry.ts';

/** Starts of one registry after another on the same database and folder. */
async function machine(t: TestContext) {
  const folder = temporaryFolder(t);
  const database = await newDatabase();
  let running: TestRegistry | null = null;
  t.after(async () => {
    await running?.close();
    await database.destroy();
  });
  return {
    folder,
    async start(options: Partial<RegistryOptions> = {}): Promise<TestRegistry> {
      await running?.close();
      running = await testRegistry(t, { folder, database, ...options });
      await running.swept;
      return running;
    },
  };
}

async function untilState(registry: AdapterRegistry, reference: string, state: AdapterState): Promise<void> {
  while ((await registry.find('default', reference)).state !== state) await setTimeout(1);
}

const damage = (path: string) => writeFileSync(path, readFileSync(path).fill(0x20, 0, 1));

test('everything is as it was after a restart', async (t) => {
  const { start } = await machine(t);
  const first = await start();
  for (const seed of [1, 2]) await upload(first, 'a', seed);
  await first.setAlias('default', { name: 'a', alias: 'prod', targets: [{ version: 1, weight: 1 }], expected: null });
  const before = [await first.versions('default', 'a'), await first.aliases('default', 'a')];
  const second = await start();
  assert.deepEqual([await second.versions('default', 'a'), await second.aliases('default', 'a')], before);
  assert.equal((await second.lease('default', 'a:prod')).adapter.version, 1);
  assert.deepEqual(second.log, []);
});

test('what an upload left behind is set aside; foreign files stay', async (t) => {
  const { folder, start } = await machine(t);
  const first = await start();
  const { adapter } = await upload(first, 'a', 1);
  const blobs = join(folder, 'blobs');
  const blob = join(blobs, adapter.digest.slice(7));
  cpSync(blob, join(folder, 'staging', 'left'), { recursive: true });
  cpSync(blob, join(blobs, 'f'.repeat(64)), { recursive: true });
  mkdirSync(join(blobs, 'lost+found'));
  const second = await start();
  assert.deepEqual(readdirSync(join(folder, 'staging')), []);
  assert.deepEqual(readdirSync(blobs).sort(), [adapter.digest.slice(7), 'lost+found'].sort());
  assert.deepEqual(
    readdirSync(join(folder, 'quarantine')).map((name) => name.split('-')[1]),
    ['f'.repeat(64)],
  );
  assert.equal(second.log.length, 1);
  (await second.lease('default', 'a')).release();
});

test('a start with another database sets aside what it does not know, and the right one gets it back', async (t) => {
  const { folder, start } = await machine(t);
  const first = await start();
  for (let seed = 0; seed < 4; seed++) await upload(first, `a${seed}`, seed);
  const wrong = await newDatabase();
  const second = await start({ database: wrong });
  assert.deepEqual(readdirSync(join(folder, 'blobs')), []);
  assert.equal(readdirSync(join(folder, 'quarantine')).length, 4);
  assert.deepEqual(
    second.log.map(({ level }) => level),
    ['warn'],
  );
  await second.close();
  await wrong.destroy();
  const third = await start();
  for (let seed = 0; seed < 4; seed++) (await third.lease('default', `a${seed}`)).release();
  assert.deepEqual(readdirSync(join(folder, 'quarantine')), []);
});

test('what is set aside is removed after two weeks', async (t) => {
  const { folder, start } = await machine(t);
  await start();
  const unknown = join(folder, 'blobs', 'f'.repeat(64));
  mkdirSync(unknown);
  const time = { now: systemClock.now() };
  const clock = { now: () => time.now, monotonic: systemClock.monotonic };
  await start({ clock });
  time.now += limits.quarantineMs - 1000;
  await start({ clock });
  assert.equal(readdirSync(join(folder, 'quarantine')).length, 1);
  time.now += 2000;
  await start({ clock });
  assert.deepEqual(readdirSync(join(folder, 'quarantine')), []);
});

test('a missing blob, or one of another size, is found without being asked for', async (t) => {
  const { start } = await machine(t);
  const first = await start();
  const leases = [];
  for (const name of ['whole', 'gone', 'short', 'no-config']) {
    await upload(first, name, leases.length);
    leases.push(await first.lease('default', name));
  }
  rmSync(join(leases[1]!.files.weights, '..'), { recursive: true });
  writeFileSync(leases[2]!.files.weights, 'short');
  rmSync(leases[3]!.files.config);
  const second = await start();
  for (const name of ['gone', 'short', 'no-config']) {
    await untilState(second, name, 'corrupt');
    await assert.rejects(second.lease('default', name), { code: 'adapter_corrupt' });
  }
  (await second.lease('default', 'whole')).release();
  assert.equal(second.log.filter(({ level }) => level === 'error').length, 3);
});

test('altered bytes are never served, whoever is first: the background or a request', async (t) => {
  const { start } = await machine(t);
  const first = await start();
  for (let index = 0; index < 8; index++) {
    await upload(first, `a${index}`, index);
    const { files } = await first.lease('default', `a${index}`);
    damage(index % 2 === 0 ? files.config : files.weights);
  }
  const second = await start();
  await assert.rejects(second.lease('default', 'a7'), { code: 'adapter_corrupt' });
  for (let index = 0; index < 8; index++) await untilState(second, `a${index}`, 'corrupt');
});

test('the same bytes repair it, for everybody who has them', async (t) => {
  const { start } = await machine(t);
  const first = await start();
  await upload(first, 'a', 1);
  await upload(first, 'b', 1, { tenant: 'other' });
  const { files } = await first.lease('default', 'a');
  damage(files.weights);
  const second = await start();
  // The damage is not known yet; the upload finds it.
  const { adapter, created } = await upload(second, 'a', 1);
  assert.deepEqual([adapter.version, adapter.state, created], [1, 'ready', false]);
  (await second.lease('other', 'b')).release();
  await second.markCorrupt(adapter.digest);
  await assert.rejects(second.lease('other', 'b'), { code: 'adapter_corrupt' });
  assert.equal((await upload(second, 'a', 1)).created, false);
  assert.equal((await second.find('other', 'b')).state, 'ready');
  (await second.lease('other', 'b')).release();
});

test('files that were put back are served again after a start', async (t) => {
  const { folder, start } = await machine(t);
  const first = await start();
  await upload(first, 'a', 1);
  const { files } = await first.lease('default', 'a');
  renameSync(join(files.weights, '..'), join(folder, 'backup'));
  await assert.rejects((await start()).lease('default', 'a'), { code: 'adapter_corrupt' });
  renameSync(join(folder, 'backup'), join(files.weights, '..'));
  const third = await start();
  await untilState(third, 'a', 'ready');
  (await third.lease('default', 'a')).release();
});

test('a damaged version falls back to none; the name means the newest that is whole', async (t) => {
  const { start } = await machine(t);
  const registry = await start();
  await upload(registry, 'a', 1);
  const { adapter } = await upload(registry, 'a', 2);
  const held = await registry.lease('default', 'a');
  await registry.markCorrupt(adapter.digest);
  const other = await registry.lease('default', 'a');
  assert.equal(other.adapter.version, 1);
  other.release();
  await assert.rejects(registry.lease('default', 'a@2'), { code: 'adapter_corrupt' });
  assert.ok(existsSync(held.files.weights), 'who holds it keeps it');
  await registry.delete('default', 'a', 1);
  await assert.rejects(registry.lease('default', 'a'), { code: 'adapter_corrupt' });
});

test('the check of all contents goes on where the last process ended, and comes around', async (t) => {
  const { folder, start } = await machine(t);
  const first = await start();
  const [files, digests] = [new Map<string, string>(), []] as [Map<string, string>, string[]];
  for (let seed = 0; seed < 6; seed++) {
    const { adapter } = await upload(first, `a${seed}`, seed);
    const lease = await first.lease('default', `a${seed}`);
    files.set(adapter.digest, lease.files.weights);
    digests.push(adapter.digest);
  }
  digests.sort();
  await first.close();
  writeFileSync(join(folder, 'checked-to'), digests[3]!);
  for (const path of files.values()) damage(path);
  const second = await start();
  const names = new Map((await second.list('default', { after: null, limit: 9 })).map((one) => [one.digest, one.name]));
  for (const name of names.values()) await untilState(second, name, 'corrupt');
  const found = second.log.map((line) => (line as unknown as { digest: string }).digest);
  assert.deepEqual(found, [...digests.slice(4), ...digests.slice(0, 4)]);
  while (readFileSync(join(folder, 'checked-to'), 'utf8') !== digests[5]) await setTimeout(1);
});
