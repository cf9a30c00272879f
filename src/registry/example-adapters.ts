// Loads the project's example adapters into a registry, each once: a deleted example does not come back.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { weightsName } from '../storage/blob-folder.ts';
import type { AdapterRegistry } from './adapter-registry.ts';
import { publishFolder } from './publish-folder.ts';

export type ExampleOptions = {
  /** A PEFT folder for each example. */
  readonly folder: string;
  /** A file that lists the examples of earlier starts. */
  readonly marker: string;
  readonly tenant: string;
};

/** @returns the names of new examples */
export async function loadExamples(registry: AdapterRegistry, options: ExampleOptions): Promise<string[]> {
  const { folder, marker, tenant } = options;
  const known = existsSync(marker) ? readFileSync(marker, 'utf8').split('\n').filter(Boolean) : [];
  const names = readdirSync(folder).filter((name) => existsSync(join(folder, name, weightsName)));
  const fresh = names.filter((name) => !known.includes(name)).sort();
  for (const name of fresh) {
    await publishFolder(registry, join(folder, name), name, { tenant, createdBy: null, source: 'example' });
  }
  if (fresh.length > 0) writeFileSync(marker, [...known, ...fresh, ''].join('\n'));
  return fresh;
}
