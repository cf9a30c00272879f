// A PEFT folder on this machine: its two files and what their content is called.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { adapterDigest } from '../../formats/adapter-digest.ts';
import { configFile, weightsFile } from '../../server/adapter-files.ts';
import { UsageError } from '../command.ts';

export type AdapterFolder = {
  readonly config: string;
  readonly weights: string;
  readonly weightsBytes: number;
  /** Hex, of the weights alone. */
  readonly weightsSha256: string;
  /** `sha256:<hex>` of both: what the server calls it. */
  readonly digest: string;
};

export async function readAdapterFolder(folder: string): Promise<AdapterFolder> {
  const [config, weights] = [join(folder, configFile), join(folder, weightsFile)];
  try {
    const { size: weightsBytes } = await stat(weights);
    const [configSha256, weightsSha256] = [await sha256(config), await sha256(weights)];
    return { config, weights, weightsBytes, weightsSha256, digest: adapterDigest(configSha256, weightsSha256) };
  } catch (cause) {
    const { code = '', path = folder } = cause as NodeJS.ErrnoException;
    if (code === '') throw cause;
    throw new UsageError(`${path} cannot be read (${code}). An adapter is a folder as PEFT saves it.`, { cause });
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}
