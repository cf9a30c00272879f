// Adapters' content on disk, by digest: each blob is a folder that PEFT itself could load. Knows how a blob becomes
// durable; knows no name, no tenant and no row.
//
//   blobs/<hex of the digest>/adapter_config.json, adapter_model.safetensors
//   staging/<id>/              blobs that are being received or removed: emptied at every start
//
// A blob is there whole or not at all: its files are flushed, their folder is renamed into place, and the rename is
// flushed. A removal renames the folder out of place first, so that an interrupted removal leaves no half blob.

import { join } from 'node:path';
import type { AdapterFiles } from '../core/adapter.ts';
import { digestFolder } from './digest-folder.ts';
import type { Files } from './files.ts';
import { fileSha256, type Received } from './receive.ts';

export const configName = 'adapter_config.json';
export const weightsName = 'adapter_model.safetensors';

/** Sizes and hashes of a blob's two files, as measured while they were received. */
export type BlobContent = { readonly config: Received; readonly weights: Received };

export type BlobFolder = ReturnType<typeof blobFolder>;

/** The sharing operations of a folder that no other server shares: they do nothing. shared-blobs.ts replaces them. */
const unshared = {
  /** Whether the folder is a cache of a store that other servers use too. */
  isShared: false as boolean,
  /** Whether the store has everything in this folder. Known after `open`. */
  isAllInStore: () => false,
  /** Puts a staged folder into the store. Called long before `place`, since an upload takes long. */
  share: async (_staged: string, _digest: string, _content: BlobContent, _replaces: boolean): Promise<void> => {},
  /** Puts the blobs among those that `known` names into the store, unless an earlier start has done so. */
  adopt: async (_known: (digests: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void> => {},
  /**
   * Called after the row is committed: puts into the store again what another server has just removed, from its place
   * or from `staged`.
   */
  confirm: async (_staged: string, _digest: string, _content: BlobContent): Promise<void> => {},
  /** Notes that the blob is in use now. */
  use: (_digest: string): void => {},
  /** Fetches the blob from the store again. @returns false where no store has it */
  renew: async (_digest: string): Promise<boolean> => false,
};

/** @param root an absolute path; everything below it lies on one file system. */
export function blobFolder(root: string, files: Files, newId: () => string) {
  const { pathOf, newPath, sync, open, digests } = digestFolder(root, files, newId);
  const filesOf = (digest: string): AdapterFiles => ({
    digest,
    config: join(pathOf(digest), configName),
    weights: join(pathOf(digest), weightsName),
  });
  /** Moves the blob out of its place at once, and returns a function that removes its bytes. */
  const takeOut = async (digest: string) => {
    const old = newPath();
    await files.rename(pathOf(digest), old);
    return () => files.remove(old);
  };
  const remove = async (digest: string): Promise<void> => {
    if ((await files.stat(pathOf(digest))) === null) return;
    const removeOld = await takeOut(digest);
    await sync();
    await removeOld();
  };
  return {
    root,
    filesOf,
    pathOf,
    ...unshared,
    isThere: async (digest: string): Promise<boolean> => (await files.stat(pathOf(digest))) !== null,
    open,
    /** Makes a new folder for the two files of a blob, and returns its path. */
    async stage(): Promise<string> {
      const path = newPath();
      await files.makeFolder(path);
      return path;
    },
    discard: (staged: string): Promise<void> => files.remove(staged),
    digests,
    /** Bytes of the weights; null where the blob is not whole. */
    async weightsBytes(digest: string): Promise<number | null> {
      const { config, weights } = filesOf(digest);
      const [configState, weightsState] = await Promise.all([files.stat(config), files.stat(weights)]);
      return configState === null ? null : (weightsState?.bytes ?? null);
    },
    /** SHA-256 in hex of both files as they are now; null where one is missing or cannot be read. */
    hash: (digest: string, stop?: AbortSignal) => hashBoth(files, filesOf(digest), stop),
    /** Makes a staged folder, whose files were flushed, the blob; replaces a blob that is there. */
    async place(staged: string, digest: string, _content: BlobContent | null): Promise<void> {
      await files.syncFolder(staged);
      const isThere = (await files.stat(pathOf(digest))) !== null;
      const removeOld = isThere ? await takeOut(digest) : null;
      await files.rename(staged, pathOf(digest));
      await sync();
      await removeOld?.().catch(() => {});
    },
    remove,
    /** Removes the blob from this machine's disk only. */
    forget: remove,
  };
}

type Hashes = { readonly config: string; readonly weights: string };

async function hashBoth(files: Files, { config, weights }: AdapterFiles, stop?: AbortSignal): Promise<Hashes | null> {
  try {
    return { config: await fileSha256(files, config, stop), weights: await fileSha256(files, weights, stop) };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR', 'EIO'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}
