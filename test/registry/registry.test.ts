// Versions, references and leases.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { testBase, testRegistry, upload } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';

test('what was uploaded can be leased, and its files are a PEFT folder', async (t) => {
  const registry = await testRegistry(t);
  const content = tinyAdapter(1);
  const { adapter, created } = await upload(registry, 'org/style', content, { createdBy: 'abc' });
  assert.equal(created, true);
  const { createdAt, digest, ...others } = adapter;
  assert.ok(Math.abs(createdAt - Date.now()) < 60_000);
  assert.match(digest, /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(others, {
    ...{ tenant: 'default', name: 'org/style', version: 1, r: 2, targetModules: ['q_proj'], parameters: 64 },
    ...{ baseDigest: testBase.digest, bytes: content.weights.length, createdBy: 'abc', source: 'upload' },
    ...{ state: 'ready', warnings: [] },
  });
  const lease = await registry.lease('default', 'org/style');
  assert.deepEqual(lease.adapter, adapter);
  assert.equal(lease.files.digest, digest);
  assert.deepEqual(new Uint8Array(readFileSync(lease.files.config)), content.config);
  assert.deepEqual(new Uint8Array(readFileSync(lease.files.weights)), content.weights);
  lease.release();
});
