// Checks that rows and blobs agree, which every start must ensure, whatever happened before.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { adapterDigest } from '../../src/formats/adapter-digest.ts';
import type { AdapterRegistry, AdapterVersion } from '../../src/registry/adapter-registry.ts';

const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

/**
 * All versions of these tenants. Asserts that each is ready, its bytes have its digest, and the folder has nothing
 * else.
 */
export async function assertIntact(
  registry: AdapterRegistry,
  folder: string,
  tenants: readonly string[],
): Promise<AdapterVersion[]> {
  await registry.swept;
  const versions: AdapterVersion[] = [];
  for (const tenant of tenants) {
    for (const { name } of await registry.list(tenant, { after: null, limit: 1000 })) {
      versions.push(...(await registry.versions(tenant, name)));
    }
  }
  const blobs = join(folder, 'blobs');
  for (const { name, version, digest, state } of versions) {
    assert.equal(state, 'ready', `${name}@${version}`);
    const path = join(blobs, digest.slice('sha256:'.length));
    const config = sha256(join(path, 'adapter_config.json'));
    assert.equal(adapterDigest(config, sha256(join(path, 'adapter_model.safetensors'))), digest);
  }
  const expected = [...new Set(versions.map(({ digest }) => digest.slice('sha256:'.length)))];
  assert.deepEqual(readdirSync(blobs).sort(), expected.sort());
  assert.deepEqual(readdirSync(join(folder, 'staging')), []);
  return versions;
}
