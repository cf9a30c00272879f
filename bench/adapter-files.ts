// An adapter in a folder as PEFT saves it, without a registry.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AdapterFiles } from '../src/core/adapter.ts';
import { adapterDigest } from '../src/formats/adapter-digest.ts';

export function adapterIn(folder: string): AdapterFiles {
  const [config, weights] = [join(folder, 'adapter_config.json'), join(folder, 'adapter_model.safetensors')];
  const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
  return { digest: adapterDigest(sha256(config), sha256(weights)), config, weights };
}
