// An adapter's folder on this machine's disk, for loading by path. Only from below the configured root: what a link or
// `..` leads out of it is not there, whoever asks.

import { constants } from 'node:fs';
import { type FileHandle, open, readdir, realpath } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { LorikeetError } from '../../core/errors.ts';
import { isCompanion, isPickleName, isWeightsName, pickleAdvice } from '../../registry/companions.ts';
import { configFile, weightsFile } from './adapter-files.ts';

export type AdapterFolder = AsyncDisposable & {
  readonly config: FileHandle;
  readonly weights: FileHandle;
  /** Names of files beside them. */
  readonly companions: readonly string[];
};

/** @param path absolute, or below the root. Throws `adapter_not_found` for what is missing or outside. */
export async function openAdapterFolder(root: string, path: string): Promise<AdapterFolder> {
  const folder = resolve(root, path);
  await using opened = new AsyncDisposableStack();
  const config = opened.use(await openBelow(root, join(folder, configFile), path));
  const names = await readdir(folder);
  const pickle = names.find(isPickleName);
  if (pickle !== undefined && !names.includes(weightsFile)) {
    const message = `Invalid adapter: ${pickle} ${pickleAdvice}.`;
    throw new LorikeetError('adapter_invalid', { message, param: pickle });
  }
  const weightsName = names.includes(weightsFile) ? weightsFile : (names.find(isWeightsName) ?? weightsFile);
  const weights = opened.use(await openBelow(root, join(folder, weightsName), path));
  const kept = opened.move();
  const companions = names.filter(isCompanion);
  return { config, weights, companions, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function openBelow(root: string, file: string, path: string): Promise<FileHandle> {
  try {
    const [realRoot, real] = await Promise.all([realpath(root), realpath(file)]);
    const inside = relative(realRoot, real);
    if (inside === '..' || inside.startsWith(`..${sep}`) || resolve(realRoot, inside) !== real)
      throw new Error('outside');
    const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    throw new Error('not a file');
  } catch (cause) {
    throw new LorikeetError('adapter_not_found', {
      message: `No adapter found for ${path}`,
      param: 'lora_path',
      cause,
    });
  }
}
