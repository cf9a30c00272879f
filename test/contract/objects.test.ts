// What a store of objects promises: the one in memory that other tests use, and S3 under `npm run test:servers`.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { below, type ObjectStore } from '../../src/storage/object-store.ts';
import { openS3, parseS3Url } from '../../src/storage/s3/open-s3.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newBucketUrl, withoutS3 } from '../helpers/test-store.ts';

type Implementation = { readonly name: string; readonly skip: string | false; open(): Promise<ObjectStore> };

const implementations: readonly Implementation[] = [
  { name: 'memory', skip: false, open: async () => memoryStore() },
  { name: 's3', skip: withoutS3, open: async () => await openS3(newBucketUrl()) },
];

function file(t: TestContext, bytes: Buffer) {
  const path = join(temporaryFolder(t), 'file');
  writeFileSync(path, bytes);
  return { path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

async function read(store: ObjectStore, key: string): Promise<Buffer | null> {
  const source = await store.get(key);
  return source === null ? null : Buffer.concat(await Array.fromAsync(source));
}

for (const { name, skip, open } of implementations) {
  test(`${name}: what was put is there whole, and once`, { skip }, async (t) => {
    const store = below(await open(), 'adapters');
    t.after(() => store.close());
    const [bytes, other] = [randomBytes(3_000_000), randomBytes(3_000_000)];
    assert.deepEqual([await store.bytes('a/b'), await store.get('a/b')], [null, null]);
    await store.put('a/b', file(t, bytes));
    assert.equal(await store.bytes('a/b'), bytes.length);
    assert.ok((await read(store, 'a/b'))!.equals(bytes));
    await store.put('a/b', file(t, other));
    assert.ok((await read(store, 'a/b'))!.equals(bytes), 'one that is there stays');
    await store.put('a/b', file(t, other), { replaces: true });
    assert.ok((await read(store, 'a/b'))!.equals(other));
    await store.remove('a/b');
    await store.remove('a/b');
    assert.equal(await store.bytes('a/b'), null);
  });

  test(`${name}: bytes that are not those of the digest are refused`, { skip }, async (t) => {
    const store = await open();
    t.after(() => store.close());
    const wrong = { ...file(t, randomBytes(1000)), sha256: '0'.repeat(64) };
    await assert.rejects(store.put('a', wrong), { code: 'storage_unavailable' });
    assert.equal(await store.bytes('a'), null);
  });

  test(`${name}: a file that is gone is said so, and nothing is put`, { skip }, async (t) => {
    const store = await open();
    t.after(() => store.close());
    const gone = file(t, randomBytes(1000));
    rmSync(gone.path);
    await assert.rejects(store.put('a', gone), { code: 'ENOENT' });
    assert.equal(await store.bytes('a'), null);
  });

  test(`${name}: keys are listed in pages, below a folder`, { skip }, async (t) => {
    const store = await open();
    t.after(() => store.close());
    const folder = below(store, 'f');
    for (const key of ['c', 'a', 'b']) await folder.put(key, file(t, randomBytes(10)));
    await store.put('g', file(t, randomBytes(10)));
    assert.deepEqual(await folder.list('', null, 2), ['a', 'b']);
    assert.deepEqual(await folder.list('', 'b', 2), ['c']);
    const aged = await folder.listAged('', 'a', 5);
    assert.deepEqual(
      aged.map(({ key }) => key),
      ['b', 'c'],
    );
    // Times are by the store's clock, to the second.
    for (const { putAt } of aged) assert.ok(Math.abs(Date.now() - putAt) < 600_000, new Date(putAt).toISOString());
  });

  test(`${name}: many at once`, { skip }, async (t) => {
    const store = await open();
    t.after(() => store.close());
    const all = Array.from({ length: 20 }, (_, i) => ({ key: `k${i % 10}`, bytes: Buffer.alloc(50_000, i % 10) }));
    await Promise.all(all.map(({ key, bytes }) => store.put(key, file(t, bytes))));
    for (const { key, bytes } of all) assert.ok((await read(store, key))!.equals(bytes));
  });
}

test('a URL says the bucket, the prefix, and where it is', () => {
  assert.deepEqual(parseS3Url('s3://b/'), { bucket: 'b', prefix: '', endpoint: null, region: null });
  assert.deepEqual(parseS3Url('s3://b/p/q?endpoint=http://h:1&region=eu'), {
    ...{ bucket: 'b', prefix: 'p/q', endpoint: 'http://h:1', region: 'eu' },
  });
  for (const url of ['s3:b', 'https://b/p', 's3://b?secret=1', 'b']) {
    assert.throws(() => parseS3Url(url), { code: 'invalid_config' }, url);
  }
});

test('a bucket that is not there, and a store that is away, are said at the start', { skip: withoutS3 }, async () => {
  const url = new URL(newBucketUrl());
  url.host = 'no-such-bucket';
  await assert.rejects(openS3(url.href), /bucket no-such-bucket .* cannot be used/);
  url.searchParams.set('endpoint', 'http://127.0.0.1:1');
  await assert.rejects(openS3(url.href), { code: 'storage_unavailable' });
});
