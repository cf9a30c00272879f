// Uploads: limits, places, and resumption.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import type { AdapterRegistry } from '../../src/registry/adapter-registry.ts';
import { nodeFiles } from '../../src/storage/files.ts';
import { virtualTime } from '../fixtures/virtual-time.ts';
import { byUpload, testRegistry } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';

const tenant = 'default';
const sha256 = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Everything below a folder, without the folders. */
const filesBelow = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());

function append(registry: AdapterRegistry, whole: Uint8Array, from: number, to: number, digest = sha256(whole)) {
  const bytes = Readable.from([whole.subarray(from, to)]);
  return registry.appendUpload(tenant, digest, { offset: from, total: whole.length, bytes });
}

async function publishUploaded(registry: AdapterRegistry, config: Uint8Array, digest: string) {
  const staged = await registry.stage('default');
  try {
    await staged.uploadedWeights(tenant, digest);
    await staged.config(config);
    return await staged.publish('a', byUpload);
  } finally {
    await staged.discard();
  }
}

test('weights of a version need no upload with its config, for its tenant alone', async (t) => {
  const registry = await testRegistry(t);
  const { config, weights } = tinyAdapter(1);
  const digest = sha256(weights);
  await append(registry, weights, 0, weights.length);
  const first = await publishUploaded(registry, config, digest);
  assert.equal(await registry.uploadOf(tenant, digest), null);
  const again = async (owner: string, name: string, own = config) => {
    const staged = await registry.stage(owner);
    try {
      await staged.config(own);
      await staged.uploadedWeights(owner, digest);
      return await staged.publish(name, { ...byUpload, tenant: owner });
    } finally {
      await staged.discard();
    }
  };
  const { adapter, created } = await again(tenant, 'b');
  assert.deepEqual([adapter.digest, adapter.bytes, created], [first.adapter.digest, weights.length, true]);
  await assert.rejects(again('other', 'b'), { code: 'upload_not_found' });
  await assert.rejects(again(tenant, 'c', Buffer.concat([config, Buffer.from(' ')])), { code: 'upload_not_found' });
});

test('what is too large is refused while it arrives, and leaves nothing', async (t) => {
  const registry = await testRegistry(t, { limits: { ...limits, adapterConfigBytes: 100, adapterWeightsBytes: 1000 } });
  const staged = await registry.stage('default');
  let asked = 0;
  const endless = Readable.from(
    (function* () {
      for (;;) {
        asked += 100;
        yield new Uint8Array(100);
      }
    })(),
  );
  await assert.rejects(staged.config(new Uint8Array(101)), { code: 'body_too_large', param: 'adapter_config.json' });
  await assert.rejects(staged.weights(endless), { code: 'body_too_large', param: 'adapter_model.safetensors' });
  assert.ok(asked < 10_000, 'the sender is stopped');
  await staged.discard();
  assert.deepEqual(filesBelow(registry.folder), []);
});

test('uploads at once are counted; ended ones make room', async (t) => {
  const registry = await testRegistry(t, { limits: { ...limits, uploads: 4 } });
  const first = await registry.stage('default');
  await registry.stage('default');
  await assert.rejects(registry.stage('default'), { code: 'too_many_uploads' });
  await assert.rejects(append(registry, new Uint8Array(10), 0, 5), { code: 'too_many_uploads' });
  await first.discard();
  await first.discard();
  await registry.stage('default');
  await assert.rejects(registry.stage('default'), { code: 'too_many_uploads' });
  // Each tenant may use half of the places that the others leave.
  await registry.stage('other');
  await assert.rejects(registry.stage('other'), { code: 'too_many_uploads' });
  await registry.stage('third');
  await assert.rejects(registry.stage('fourth'), { code: 'too_many_uploads' });
});

test('a full disk says so, and nothing is left', async (t) => {
  const full = () => Promise.reject(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
  const files = {
    ...nodeFiles,
    create: async (path: string) => ({ ...(await nodeFiles.create(path)), write: full }),
    append: async (path: string) => ({ ...(await nodeFiles.append(path)), write: full }),
  };
  const registry = await testRegistry(t, { files });
  const staged = await registry.stage('default');
  const { config, weights } = tinyAdapter(1);
  await assert.rejects(staged.config(config), { code: 'storage_full' });
  await assert.rejects(staged.weights(Readable.from([weights])), { code: 'storage_full' });
  await staged.discard();
  assert.deepEqual(filesBelow(registry.folder), []);
  await assert.rejects(append(registry, weights, 0, 100), { code: 'storage_full' });
});

test('an upload goes on where it stopped, over a broken connection and a restart', async (t) => {
  const registry = await testRegistry(t);
  const { config, weights } = tinyAdapter(1);
  const digest = sha256(weights);
  assert.equal(await registry.uploadOf(tenant, digest), null);
  const broken = Readable.from(
    (async function* () {
      yield weights.subarray(0, 200);
      throw new Error('the connection broke');
    })(),
  );
  const part = { offset: 0, total: weights.length, bytes: broken };
  await assert.rejects(registry.appendUpload(tenant, digest, part), /the connection broke/);
  assert.deepEqual(await registry.uploadOf(tenant, digest), { digest, offset: 200, complete: false });
  assert.equal(await registry.uploadOf('other', digest), null);
  await assert.rejects(publishUploaded(registry, config, digest), { code: 'upload_not_found' });
  for (const offset of [0, 199, 201]) {
    await assert.rejects(append(registry, weights, offset, weights.length), { code: 'upload_offset_mismatch' });
  }
  await registry.close();

  const again = await testRegistry(t, { folder: registry.folder });
  assert.deepEqual(await append(again, weights, 200, 300), { digest, offset: 300, complete: false });
  const end = { digest, offset: weights.length, complete: true };
  assert.deepEqual(await append(again, weights, 300, weights.length), end);
  assert.deepEqual(await again.uploadOf(tenant, digest), end);
  // A refused config does not remove the uploaded weights.
  await assert.rejects(publishUploaded(again, new TextEncoder().encode('{}'), digest), { code: /adapter_/ });
  const { adapter } = await publishUploaded(again, config, digest);
  const { files } = await again.lease(tenant, 'a');
  assert.deepEqual(new Uint8Array(readFileSync(files.weights)), weights);
  assert.equal(adapter.bytes, weights.length);
  assert.equal(await again.uploadOf(tenant, digest), null);
});

test('bytes that are not the announced ones', async (t) => {
  const registry = await testRegistry(t);
  const { weights } = tinyAdapter(1);
  const digest = sha256(tinyAdapter(2).weights);
  await append(registry, weights, 0, 100, digest);
  await assert.rejects(append(registry, weights, 100, weights.length, digest), { code: 'digest_mismatch' });
  assert.equal(await registry.uploadOf(tenant, digest), null);
  const more = { offset: 0, total: 100, bytes: Readable.from([weights.subarray(0, 101)]) };
  await assert.rejects(registry.appendUpload(tenant, digest, more), { code: 'body_too_large' });
});

test('what an upload may not be', async (t) => {
  const registry = await testRegistry(t, { limits: { ...limits, uploadsKept: 2, adapterWeightsBytes: 1000 } });
  const part = (offset: number, total: number) => ({ offset, total, bytes: Readable.from([new Uint8Array(1)]) });
  const digest = sha256(new Uint8Array(1));
  for (const wrong of ['', 'sha256:..', digest.toUpperCase(), `${digest}/../x`]) {
    await assert.rejects(registry.appendUpload(tenant, wrong, part(0, 2)), { code: 'invalid_parameter' });
    assert.equal(await registry.uploadOf(tenant, wrong), null);
  }
  for (const [offset, total] of [
    [-1, 2],
    [0.5, 2],
    [0, 0],
    [0, Number.NaN],
  ] as const) {
    await assert.rejects(registry.appendUpload(tenant, digest, part(offset, total)), { code: 'invalid_parameter' });
  }
  await assert.rejects(registry.appendUpload(tenant, digest, part(0, 1001)), { code: 'body_too_large' });
  for (const seed of [1, 2]) await append(registry, tinyAdapter(seed).weights, 0, 10);
  await assert.rejects(append(registry, tinyAdapter(3).weights, 0, 10), { code: 'too_many_uploads' });
  await append(registry, tinyAdapter(1).weights, 10, 20);
});

test('one sender a file', async (t) => {
  const registry = await testRegistry(t);
  const { weights } = tinyAdapter(1);
  const { promise, resolve } = Promise.withResolvers<void>();
  const slow = Readable.from(
    (async function* () {
      await promise;
      yield weights;
    })(),
  );
  const first = registry.appendUpload(tenant, sha256(weights), { offset: 0, total: weights.length, bytes: slow });
  await assert.rejects(append(registry, weights, 0, 10), { code: 'upload_offset_mismatch' });
  resolve();
  assert.equal((await first).complete, true);
});

test('a whole upload that was altered on the disk is not taken', async (t) => {
  const registry = await testRegistry(t);
  const { config, weights } = tinyAdapter(1);
  await append(registry, weights, 0, weights.length);
  const [entry] = filesBelow(join(registry.folder, 'uploads'));
  writeFileSync(join(entry!.parentPath, entry!.name), weights.slice().fill(1, 300));
  await assert.rejects(publishUploaded(registry, config, sha256(weights)), { code: 'upload_not_found' });
});

test('what nobody finishes is forgotten after a day: by the hour, and at a start', async (t) => {
  let hours = 0;
  const time = virtualTime();
  const clock = { ...systemClock, now: () => systemClock.now() + hours * 3_600_000 };
  const registry = await testRegistry(t, { clock, timers: time });
  const { weights } = tinyAdapter(1);
  await append(registry, weights, 0, 100);
  hours = 23;
  time.advance(23 * 3_600_000);
  await setTimeout(20);
  assert.equal((await registry.uploadOf(tenant, sha256(weights)))?.offset, 100);
  hours = 25;
  time.advance(2 * 3_600_000);
  while ((await registry.uploadOf(tenant, sha256(weights))) !== null) await setTimeout(1);
  hours = 0;
  await append(registry, weights, 0, weights.length);
  await registry.close();
  hours = 25;
  const again = await testRegistry(t, { clock, folder: registry.folder });
  assert.equal(await again.uploadOf(tenant, sha256(weights)), null);
});
