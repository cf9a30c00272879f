// Reads an adapter on this machine: its files, their digest, and the files beside them.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { adapterDigest } from '../../formats/adapter-digest.ts';
import { templateFiles, templateIn } from '../../formats/chat-template-files.ts';
import { isCompanion, isPickleName, isWeightsName, pickleAdvice } from '../../registry/companions.ts';
import { configFile, weightsFile } from '../../server/adapters/adapter-files.ts';
import { UsageError } from '../command.ts';

export type AdapterFolder = {
  /** Path of adapter_config.json; null for a GGUF adapter, which has none. */
  readonly config: string | null;
  readonly weights: string;
  readonly weightsBytes: number;
  /** SHA-256 of the weights file alone, in hex. */
  readonly weightsSha256: string;
  /**
   * The server's digest of the adapter, `sha256:<hex>` over both files; null where the server rewrites the files first.
   */
  readonly digest: string | null;
  /** Names of other files in the folder that describe the adapter, such as the tokeniser's. */
  readonly companions: readonly string[];
  /** The adapter's own chat template; null where the folder has none. */
  readonly template: string | null;
};

/** @param path a folder as PEFT or mlx-lm saves it, or a GGUF adapter. Throws UsageError. */
export async function readAdapterFolder(path: string): Promise<AdapterFolder> {
  try {
    return await readFiles(path);
  } catch (cause) {
    const { code = '', path: file = path } = cause as NodeJS.ErrnoException;
    if (code === '') throw cause;
    throw new UsageError(`${file} cannot be read (${code}). ${shapes}`, { cause });
  }
}

const shapes = `An adapter is a folder with ${configFile} and ${weightsFile}, as PEFT saves it, or a GGUF adapter.`;

async function readFiles(path: string): Promise<AdapterFolder> {
  const isFile = (await stat(path)).isFile();
  const folder = isFile ? dirname(path) : path;
  const names = await readdir(folder);
  const weights = join(folder, isFile ? basename(path) : weightsIn(folder, names));
  const { size: weightsBytes } = await stat(weights);
  const isGguf = weights.endsWith('.gguf');
  const config = isGguf ? null : join(folder, configFile);
  const hashes = { config: config === null ? null : await sha256(config), weights: await sha256(weights) };
  const isPeft = hashes.config !== null && basename(weights) === weightsFile;
  return {
    ...{ config, weights, weightsBytes },
    weightsSha256: hashes.weights,
    digest: isPeft ? adapterDigest(hashes.config!, hashes.weights) : null,
    companions: isGguf ? [] : names.filter(isCompanion),
    template: isGguf ? null : await templateOf(folder, names),
  };
}

async function templateOf(folder: string, names: readonly string[]): Promise<string | null> {
  for (const name of templateFiles.filter((file) => names.includes(file))) {
    const template = templateIn(name, await readFile(join(folder, name)));
    if (template !== null) return template;
  }
  return null;
}

/**
 * Names the weights file of a folder. Throws UsageError where a better message exists than that the file is missing.
 */
function weightsIn(folder: string, names: readonly string[]): string {
  if (names.includes(weightsFile)) return weightsFile;
  const other = names.find(isWeightsName);
  if (other !== undefined) return other;
  const pickle = names.find(isPickleName);
  if (pickle !== undefined) throw new UsageError(`${join(folder, pickle)} ${pickleAdvice}.`);
  if (names.includes(configFile)) return weightsFile;
  const inside = names.length === 0 ? 'it is empty' : `it holds ${names.slice(0, 8).join(', ')}`;
  throw new UsageError(`${folder} is no adapter: ${inside}. ${shapes}`);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}
