// A PEFT folder on this machine to a version, through the same checks as an upload.

import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configName, weightsName } from '../storage/blob-folder.ts';
import type { AdapterRegistry, AdapterVersion, Provenance } from './adapter-registry.ts';

/** Throws what `stage` and `publish` throw. */
export async function publishFolder(
  registry: AdapterRegistry,
  folder: string,
  name: string,
  provenance: Provenance,
): Promise<AdapterVersion> {
  const staged = await registry.stage(provenance.tenant);
  try {
    await staged.config(await readFile(join(folder, configName)));
    await staged.weights(createReadStream(join(folder, weightsName)));
    return (await staged.publish(name, provenance)).adapter;
  } finally {
    await staged.discard();
  }
}
