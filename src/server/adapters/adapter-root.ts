// Opens an adapter's folder on this machine's disk, for loading by path. Only files below the configured root exist:
// what a link or `..` leads to outside of it is not found.

import { constants } from 'node:fs';
import { type FileHandle, open, readdir, realpath } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { LorikeetError } from '../../core/errors.ts';
import type { StagedAdapter } from '../../registry/adapter-registry.ts';
import { isCompanion, isPickleName, isWeightsName, mayHaveTemplate, pickleAdvice } from '../../registry/companions.ts';
import { configFile, weightsFile } from './adapter-files.ts';

export type AdapterFolder = AsyncDisposable & {
  readonly config: FileHandle;
  readonly weights: FileHandle;
  /** Other files of the folder; those that may have a chat template are open, the rest are null. */
  readonly companions: readonly { readonly name: string; readonly file: FileHandle | null }[];
};

/**
 * Opens the files of an adapter.
 * @param path absolute, or below the root. Throws `adapter_not_found` for a file that is missing or outside of the
 * root.
 */
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
  const companions: { name: string; file: FileHandle | null }[] = [];
  for (const name of names.filter(isCompanion)) {
    const isRead = mayHaveTemplate(name);
    companions.push({ name, file: isRead ? opened.use(await openBelow(root, join(folder, name), path)) : null });
  }
  const kept = opened.move();
  return { config, weights, companions, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Stages the whole folder as an upload. */
export async function stageFolder(
  staged: StagedAdapter,
  { config, weights, companions }: AdapterFolder,
): Promise<void> {
  for (const { name, file } of companions) await staged.companion(name, file?.createReadStream());
  await staged.config(config.createReadStream());
  await staged.weights(weights.createReadStream());
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
