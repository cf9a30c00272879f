// Publishes a PEFT folder on this machine as a version, with the same checks as an upload.

import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configName, weightsName } from '../storage/blob-folder.ts';
import type { AdapterRegistry, AdapterVersion, Provenance } from './adapter-registry.ts';
import { isCompanion, mayHaveTemplate } from './companions.ts';

/** Throws what `stage` and `publish` throw. */
export async function publishFolder(
  registry: AdapterRegistry,
  folder: string,
  name: string,
  provenance: Provenance,
): Promise<AdapterVersion> {
  const staged = await registry.stage(provenance.tenant);
  try {
    for (const file of (await readdir(folder)).filter(isCompanion)) {
      await staged.companion(file, mayHaveTemplate(file) ? await readFile(join(folder, file)) : undefined);
    }
    await staged.config(await readFile(join(folder, configName)));
    await staged.weights(createReadStream(join(folder, weightsName)));
    return (await staged.publish(name, provenance)).adapter;
  } finally {
    await staged.discard();
  }
}
