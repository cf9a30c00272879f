// The real registry over a database and a folder of its own, opened for one test and closed after it. `database` and
// `folder` let a second registry open what the first one left.

import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import { prng } from '../../src/core/prng.ts';
import type { AdapterRegistry, AdapterVersion, Provenance } from '../../src/registry/adapter-registry.ts';
import { checkAdapter } from '../../src/registry/check-adapter.ts';
import type { RegistryOptions } from '../../src/registry/options.ts';
import { openAdapterRegistry } from '../../src/registry/registry.ts';
import type { Database } from '../../src/storage/database.ts';
import { nodeFiles } from '../../src/storage/files.ts';
import { tinyShape } from '../models/model-folder.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { newDatabase } from './test-database.ts';
import { type TinyAdapter, tinyAdapter } from './tiny-adapters.ts';

export type LogLine = {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly [field: string]: unknown;
};

export type TestRegistry = AdapterRegistry & {
  readonly folder: string;
  readonly database: Database;
  readonly log: LogLine[];
};

/** The base model that `testApp` has too. */
export const testBase: RegistryOptions['base'] = {
  name: 'tiny',
  digest: `sha256:${'a'.repeat(64)}`,
  shape: () => tinyShape,
};

export async function testRegistry(t: TestContext, options: Partial<RegistryOptions> = {}): Promise<TestRegistry> {
  const folder = options.folder ?? temporaryFolder(t);
  const database = options.database ?? (await newDatabase());
  const log: LogLine[] = [];
  const write = (level: LogLine['level']) => (fields: object, message: string) =>
    void log.push({ ...fields, level, message });
  const registry = await openAdapterRegistry({
    base: testBase,
    check: checkAdapter,
    clock: systemClock,
    timers: systemTimers,
    random: prng(1),
    newId: randomUUID,
    log: { info: write('info'), warn: write('warn'), error: write('error') },
    limits,
    files: nodeFiles,
    ...options,
    database,
    folder,
  });
  t.after(async () => {
    await registry.close();
    if (options.database === undefined) await database.destroy();
  });
  return { ...registry, folder, database, log };
}

export const byUpload: Provenance = { tenant: 'default', createdBy: null, source: 'upload' };

/** Uploads an adapter as the server does. `adapter` is a seed or the content itself. */
export async function upload(
  registry: AdapterRegistry,
  name: string,
  adapter: number | TinyAdapter,
  provenance: Partial<Provenance> = {},
): Promise<{ adapter: AdapterVersion; created: boolean }> {
  const { config, weights } = typeof adapter === 'number' ? tinyAdapter(adapter) : adapter;
  const staged = await registry.stage('default');
  try {
    await staged.config(config);
    await staged.weights(Readable.from([weights]));
    return await staged.publish(name, { ...byUpload, ...provenance });
  } finally {
    await staged.discard();
  }
}
