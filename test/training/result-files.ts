// PEFT's two files in a folder, in the form that requests name them.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AdapterFiles } from '../../src/core/adapter.ts';
import { adapterDigest } from '../../src/formats/adapter-digest.ts';

export function resultFiles(folder: string): AdapterFiles {
  const [config, weights] = ['adapter_config.json', 'adapter_model.safetensors'].map((name) => join(folder, name));
  const [configHex, weightsHex] = [config!, weights!].map((path) =>
    createHash('sha256').update(readFileSync(path)).digest('hex'),
  );
  return { config: config!, weights: weights!, digest: adapterDigest(configHex!, weightsHex!) };
}
