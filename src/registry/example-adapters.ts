// The adapters that come with the project, put into a registry once: one that its owner deletes does not come back.

import { createReadStream, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configName, weightsName } from '../storage/blob-folder.ts';
import type { AdapterRegistry } from './adapter-registry.ts';

export type ExampleOptions = {
  /** A PEFT folder for each example. */
  readonly folder: string;
  /** A file that lists the examples of earlier starts. */
  readonly marker: string;
  readonly tenant: string;
};

/** @returns names of those that are new */
export async function loadExamples(registry: AdapterRegistry, options: ExampleOptions): Promise<string[]> {
  const { folder, marker, tenant } = options;
  const known = existsSync(marker) ? readFileSync(marker, 'utf8').split('\n').filter(Boolean) : [];
  const names = readdirSync(folder).filter((name) => existsSync(join(folder, name, weightsName)));
  const fresh = names.filter((name) => !known.includes(name)).sort();
  for (const name of fresh) {
    const staged = await registry.stage();
    try {
      await staged.config(await readFile(join(folder, name, configName)));
      await staged.weights(createReadStream(join(folder, name, weightsName)));
      await staged.publish(name, { tenant, createdBy: null, source: 'example' });
    } finally {
      await staged.discard();
    }
  }
  if (fresh.length > 0) writeFileSync(marker, [...known, ...fresh, ''].join('\n'));
  return fresh;
}
