// The real registry, watched: it counts leases and uploads, so that a test sees that all are released, and can be made
// to fail. Any bytes pass as weights; the config must be JSON.

import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import type { AdapterVersion } from '../../src/registry/adapter-registry.ts';
import type { AdapterCheck, RegistryOptions } from '../../src/registry/options.ts';
import { byUpload, type TestRegistry, testRegistry, upload } from './test-registry.ts';

export type WatchedRegistry = TestRegistry & {
  /** Makes a version without HTTP. */
  add(name: string, options?: { tenant?: string; content?: string; virtualTokens?: number }): Promise<AdapterVersion>;
  readonly leases: number;
  readonly releases: number;
  /** Leases that are not released. */
  readonly held: number;
  /** Uploads that are not discarded. */
  readonly staged: number;
  /** Digests that were marked as corrupt. */
  readonly corrupt: readonly string[];
  /** The error that the next stage throws. */
  stageFailure: LorikeetError | null;
  /** The error that the next write throws. */
  writeFailure: LorikeetError | null;
};

export async function watchedRegistry(
  t: TestContext,
  options: Partial<RegistryOptions> = {},
): Promise<WatchedRegistry> {
  const real = await testRegistry(t, { check, ...options });
  const corrupt: string[] = [];
  const counts = { leases: 0, releases: 0, staged: 0 };
  const failIfAsked = () => {
    if (watched.writeFailure !== null) throw watched.writeFailure;
  };
  const watched: WatchedRegistry = {
    ...real,
    corrupt,
    stageFailure: null,
    writeFailure: null,
    get leases() {
      return counts.leases;
    },
    get releases() {
      return counts.releases;
    },
    get held() {
      return counts.leases - counts.releases;
    },
    get staged() {
      return counts.staged;
    },
    async add(name, { tenant = 'default', content = name, virtualTokens: num_virtual_tokens } = {}) {
      const config = { r: 8, target_modules: ['q_proj'], num_virtual_tokens };
      const bytes = { config: Buffer.from(JSON.stringify(config)), weights: Buffer.from(content) };
      return (await upload(real, name, bytes, { ...byUpload, tenant })).adapter;
    },
    async lease(tenant, reference) {
      const lease = await real.lease(tenant, reference);
      counts.leases++;
      return {
        ...lease,
        release() {
          counts.releases++;
          lease.release();
        },
      };
    },
    async stage(tenant) {
      if (watched.stageFailure !== null) throw watched.stageFailure;
      const staged = await real.stage(tenant);
      counts.staged++;
      return {
        ...staged,
        async weights(bytes: Readable) {
          failIfAsked();
          await staged.weights(bytes);
        },
        async discard() {
          counts.staged--;
          await staged.discard();
        },
      };
    },
    async appendUpload(tenant, digest, part) {
      failIfAsked();
      return real.appendUpload(tenant, digest, part);
    },
    async markCorrupt(digest) {
      corrupt.push(digest);
      await real.markCorrupt(digest);
    },
  };
  return watched;
}

const check: AdapterCheck = (config, weights) => {
  try {
    const { r, target_modules: targetModules, use_dora, ...more } = JSON.parse(Buffer.from(config).toString());
    const { num_virtual_tokens: virtualTokens } = more;
    if (use_dora) throw new LorikeetError('adapter_unsupported', { param: 'use_dora' });
    const parameters = weights.bytes;
    if (virtualTokens) return { r: 0, targetModules: [], virtualTokens, parameters, warnings: [] };
    return { r, targetModules, parameters, warnings: [] };
  } catch (cause) {
    if (cause instanceof LorikeetError) throw cause;
    throw new LorikeetError('adapter_invalid', { message: 'adapter_config.json is not JSON.', cause });
  }
};
