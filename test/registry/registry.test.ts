// Versions, references and leases.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { checkAdapter } from '../../src/registry/check-adapter.ts';
import type { AdapterCheck } from '../../src/registry/options.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { byUpload, testBase, testRegistry, upload } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';

test('what was uploaded can be leased, and its files are a PEFT folder', async (t) => {
  const registry = await testRegistry(t);
  const content = tinyAdapter(1);
  const { adapter, created } = await upload(registry, 'org/style', content, { createdBy: 'abc' });
  assert.equal(created, true);
  const { createdAt, digest, ...others } = adapter;
  assert.ok(Math.abs(createdAt - systemClock.now()) < 60_000);
  assert.match(digest, /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(others, {
    ...{ tenant: 'default', name: 'org/style', version: 1, r: 2, targetModules: ['q_proj'], parameters: 64 },
    ...{ baseDigest: testBase.digest, bytes: content.weights.length, createdBy: 'abc', source: 'upload' },
    ...{ state: 'ready', templateDigest: null, warnings: [] },
  });
  const lease = await registry.lease('default', 'org/style');
  assert.deepEqual(lease.adapter, adapter);
  assert.equal(lease.files.digest, digest);
  assert.deepEqual(new Uint8Array(readFileSync(lease.files.config)), content.config);
  assert.deepEqual(new Uint8Array(readFileSync(lease.files.weights)), content.weights);
  const blob = join(registry.folder, 'blobs', digest.slice('sha256:'.length));
  assert.equal(lease.files.config, join(blob, 'adapter_config.json'));
  assert.equal(lease.files.weights, join(blob, 'adapter_model.safetensors'));
  lease.release();
});

test('a name means its newest version; the same content again is the same version', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  const second = await upload(registry, 'a', 2);
  assert.equal(second.adapter.version, 2);
  assert.deepEqual(await upload(registry, 'a', 1), { adapter: await registry.find('default', 'a@1'), created: false });
  assert.deepEqual(await registry.find('default', 'a'), second.adapter);
  assert.deepEqual(
    (await registry.versions('default', 'a')).map(({ version }) => version),
    [2, 1],
  );
  const sharper = await upload(registry, 'a', tinyAdapter(2, { lora_alpha: 8 }));
  assert.equal(sharper.adapter.version, 3, 'another alpha is another content');
});

test('a version for a name without other makers is refused where another server has taken the name', async (t) => {
  const [database, store] = [await newDatabase(), memoryStore()];
  t.after(() => database.destroy());
  const shared = { store, cacheBytes: 2 ** 40 };
  const other = await testRegistry(t, { database, shared });
  // The check is the last step before the publication's transaction.
  let beforeTransaction = async () => {};
  const check: AdapterCheck = async (...asked) => {
    await beforeTransaction();
    return checkAdapter(...asked);
  };
  const registry = await testRegistry(t, { database, shared, check });
  const own = { createdBy: 'k', source: 'training', onlyOwnName: true } as const;
  const first = await upload(registry, 'a', 1, own);
  assert.equal((await upload(registry, 'a', 2, own)).adapter.version, 2);

  beforeTransaction = async () => void (await upload(other, 'a', 3));
  await assert.rejects(upload(registry, 'a', 4, own), { code: 'insufficient_permissions' });
  assert.equal((await registry.versions('default', 'a')).length, 3);
  assert.equal(readdirSync(join(registry.folder, 'blobs')).length, 2, 'the refused content is gone');
  beforeTransaction = async () => {};
  assert.deepEqual(await upload(registry, 'a', 1, own), { adapter: first.adapter, created: false }, 'repeated');
  for (const seed of [3, 5]) {
    await assert.rejects(upload(registry, 'a', seed, own), { code: 'insufficient_permissions' }, 'also their content');
  }
  await assert.rejects(upload(registry, 'a', 6, { ...own, createdBy: 'l' }), { code: 'insufficient_permissions' });
  assert.equal((await upload(registry, 'b', 3, own)).created, true, 'a name is not a content');
});

test('one content under two names and of two tenants lies on the disk once', async (t) => {
  const registry = await testRegistry(t);
  const digests = [
    (await upload(registry, 'a', 1)).adapter.digest,
    (await upload(registry, 'b', 1)).adapter.digest,
    (await upload(registry, 'a', 1, { tenant: 'other' })).adapter.digest,
  ];
  assert.equal(new Set(digests).size, 1);
  await registry.delete('default', 'a', null);
  await registry.delete('default', 'b', null);
  const { files } = await registry.lease('other', 'a');
  assert.deepEqual(new Uint8Array(readFileSync(files.weights)), tinyAdapter(1).weights);
});

test("another tenant's adapter is exactly like a missing one", async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1, { tenant: 'other' });
  await registry.setAlias('other', { name: 'a', alias: 'prod', targets: [{ version: 1, weight: 1 }], expected: null });
  const error = (work: Promise<unknown>) =>
    work.then(
      () => assert.fail('it is there'),
      ({ code, message, param }) => ({ code, param, message: message.replaceAll(/missing|a\b/g, '...') }),
    );
  const asks = (name: string): (() => Promise<unknown>)[] => [
    () => registry.lease('default', name),
    () => registry.lease('default', `${name}@1`),
    () => registry.lease('default', `${name}:prod`),
    () => registry.find('default', name),
    () => registry.versions('default', name),
    () => registry.aliases('default', name),
    () => registry.delete('default', name, null),
    () => registry.delete('default', name, 1),
    () => registry.deleteAlias('default', name, 'prod', null),
    () => registry.setAlias('default', { name, alias: 'prod', targets: [{ version: 1, weight: 1 }], expected: null }),
  ];
  for (const [index, ask] of asks('a').entries()) {
    const missing = await error(asks('missing')[index]!());
    assert.deepEqual(await error(ask()), missing);
    assert.equal(missing.code, 'adapter_not_found');
  }
  assert.deepEqual(await registry.list('default', { after: null, limit: 10 }), []);
});

test('references that mean nothing', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  for (const text of ['b', 'a@2', '', 'a@', '../a', 'a,b', 'x'.repeat(10_000)]) {
    await assert.rejects(registry.lease('default', text), (error: Error & { code: string }) => {
      assert.equal(error.code, 'adapter_not_found');
      return error.message.length < 300;
    });
  }
  await assert.rejects(registry.lease('default', 'a:prod'), { code: 'alias_not_found' });
});

test('pages of a list, by name', async (t) => {
  const registry = await testRegistry(t);
  for (const name of ['c', 'a', 'B', 'a/b']) await upload(registry, name, 1);
  await upload(registry, 'a', 2);
  const page = async (after: string | null, limit: number) =>
    (await registry.list('default', { after, limit })).map(({ name, version }) => `${name}@${version}`);
  assert.deepEqual(await page(null, 10), ['B@1', 'a@2', 'a/b@1', 'c@1']);
  assert.deepEqual(await page(null, 2), ['B@1', 'a@2']);
  assert.deepEqual(await page('a', 2), ['a/b@1', 'c@1']);
  assert.deepEqual(await page('c', 2), []);
});

test('a name that cannot be', async (t) => {
  const registry = await testRegistry(t);
  for (const name of ['', '../x', 'a b', 'a@1', 'tiny']) {
    await assert.rejects(upload(registry, name, 1), { code: 'invalid_parameter', param: 'name' });
  }
});

test('an adapter for another base model is listed, and using it says which one it was made for', async (t) => {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  const first = await testRegistry(t, { folder, database });
  await upload(first, 'a', 1);
  await upload(first, 'b', 1);
  await first.close();
  const base = { ...testBase, name: 'small', digest: `sha256:${'b'.repeat(64)}` };
  const second = await testRegistry(t, { folder, database, base });
  assert.equal((await second.find('default', 'a')).state, 'ready');
  await assert.rejects(second.lease('default', 'a'), { code: 'adapter_unsupported', message: /tiny.*runs small/ });
  // The same content checked against this base is a version of its own; each version works with its own base.
  const { adapter, created } = await upload(second, 'a', 1);
  assert.deepEqual([adapter.version, created], [2, true]);
  assert.equal((await second.lease('default', 'a')).adapter.version, 2);
  await second.close();
  const third = await testRegistry(t, { folder, database });
  assert.equal((await third.lease('default', 'a')).adapter.version, 1);
  await third.close();
  await database.destroy();
});

test('what the check refuses leaves nothing, and a discarded upload neither', async (t) => {
  const registry = await testRegistry(t);
  const refused = { ...tinyAdapter(1), weights: new TextEncoder().encode('not safetensors') };
  await assert.rejects(upload(registry, 'a', refused), { code: 'adapter_invalid' });
  await assert.rejects(upload(registry, 'a', tinyAdapter(1, { bias: 'all' })), { code: 'adapter_unsupported' });
  const staged = await registry.stage('default');
  const withoutWeights = { code: 'missing_parameter', param: 'adapter_model.safetensors' };
  await assert.rejects(staged.publish('a', byUpload), withoutWeights);
  await staged.config(Readable.from([tinyAdapter(1).config]));
  await assert.rejects(staged.publish('a', byUpload), withoutWeights);
  const other = await registry.stage('default');
  await other.weights(Readable.from([tinyAdapter(1).weights]));
  await assert.rejects(other.publish('a', byUpload), { code: 'missing_parameter', param: 'adapter_config.json' });
  await other.discard();
  await staged.discard();
  await staged.discard();
  await assert.rejects(registry.find('default', 'a'), { code: 'adapter_not_found' });
});

test('an adapter of zeros is legal, and says so', async (t) => {
  const registry = await testRegistry(t);
  const { config, weights } = tinyAdapter(1);
  const header = 8 + Number(new DataView(weights.buffer).getBigUint64(0, true));
  const { adapter } = await upload(registry, 'a', { config, weights: weights.slice().fill(0, header) });
  assert.match(adapter.warnings.join(), /Every lora_B is zero/);
  assert.deepEqual((await upload(registry, 'b', 1)).adapter.warnings, []);
});

test('a lease costs microseconds', async (t) => {
  const registry = await testRegistry(t);
  for (let version = 0; version < 20; version++) await upload(registry, 'a', version);
  const targets = [1, 2, 3].map((version) => ({ version, weight: 1 }));
  await registry.setAlias('default', { name: 'a', alias: 'split', targets, expected: null });
  for (const reference of ['a', 'a@7', 'a:split']) {
    const times: number[] = [];
    for (let call = 0; call < 5000; call++) {
      const began = systemClock.monotonic();
      (await registry.lease('default', reference)).release();
      times.push(systemClock.monotonic() - began);
    }
    times.sort((a, b) => a - b);
    const [median, high] = [times[2500]! * 1000, times[4950]! * 1000];
    t.diagnostic(`${reference}: median ${median.toFixed(1)} us, p99 ${high.toFixed(1)} us`);
    assert.ok(median < 50);
  }
});
