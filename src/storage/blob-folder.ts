// Adapters' content on disk, by digest: each blob is a folder that PEFT itself could load. Knows how a blob becomes
// durable; knows no name, no tenant and no row.
//
//   blobs/<hex of the digest>/adapter_config.json, adapter_model.safetensors
//   staging/<id>/              on its way in, or on its way out: emptied at every start
//
// A blob is there whole or not at all: files are flushed, their folder is renamed into place, and that is flushed too.
// It goes the other way round: renamed out of place first, so that a deletion cut short leaves no half blob.

import { join } from 'node:path';
import type { AdapterFiles } from '../core/adapter.ts';
import { hexOf } from '../core/hex-of.ts';
import type { Files } from './files.ts';
import { fileSha256, type Received } from './receive.ts';

export const configName = 'adapter_config.json';
export const weightsName = 'adapter_model.safetensors';

/** What is known of a blob's two files when they were received. */
export type BlobContent = { readonly config: Received; readonly weights: Received };

export type BlobFolder = ReturnType<typeof blobFolder>;

/** What a folder is for that no other server shares. */
const alone = {
  /** Whether other servers have the content too, and this folder is a cache of what they share. */
  isShared: false as boolean,
  /** Whether all that lies here is shared already. Known after `open`. */
  isCache: () => false,
  /** Puts a staged folder where all servers find it; long before it is placed, since it takes its time. */
  share: async (_staged: string, _digest: string, _content: BlobContent, _replaces: boolean): Promise<void> => {},
  /** Puts those that are `known` where all servers find them, unless that was done at an earlier start. */
  adopt: async (_known: (digests: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void> => {},
  /** After its row: puts what another server has removed just before, from where it was placed or still is staged. */
  confirm: async (_staged: string, _digest: string, _content: BlobContent): Promise<void> => {},
  /** It is asked for just now. */
  use: (_digest: string): void => {},
  /** Fetches it once more. @returns false where there is nowhere to fetch it from */
  renew: async (_digest: string): Promise<boolean> => false,
};

/** @param root an absolute path; everything below it lies on one file system. */
export function blobFolder(root: string, files: Files, newId: () => string) {
  const [blobs, staging] = [join(root, 'blobs'), join(root, 'staging')];
  const pathOf = (digest: string) => join(blobs, hexOf(digest));
  const filesOf = (digest: string): AdapterFiles => ({
    digest,
    config: join(pathOf(digest), configName),
    weights: join(pathOf(digest), weightsName),
  });
  /** Out of its place at once; its bytes after that. Left to the next start where they cannot be removed. */
  const takeOut = async (digest: string) => {
    const old = join(staging, newId());
    await files.rename(pathOf(digest), old);
    return () => files.remove(old);
  };
  const remove = async (digest: string): Promise<void> => {
    if ((await files.stat(pathOf(digest))) === null) return;
    const removeOld = await takeOut(digest);
    await files.syncFolder(blobs);
    await removeOld();
  };
  return {
    root,
    filesOf,
    pathOf,
    ...alone,
    isThere: async (digest: string): Promise<boolean> => (await files.stat(pathOf(digest))) !== null,
    /** Makes the folders, and empties the one for what was under way. */
    async open(): Promise<void> {
      await files.makeFolder(blobs);
      await files.makeFolder(staging);
      for (const name of await files.list(staging)) await files.remove(join(staging, name));
      await files.syncFolder(root);
    },
    /** A new folder for the two files of a blob. */
    async stage(): Promise<string> {
      const path = join(staging, newId());
      await files.makeFolder(path);
      return path;
    },
    discard: (staged: string): Promise<void> => files.remove(staged),
    /** Digests of the blobs that are there; whatever else lies in the folder is not ours. */
    async digests(): Promise<string[]> {
      const names = await files.list(blobs);
      return names.filter((name) => /^[0-9a-f]{64}$/.test(name)).map((name) => `sha256:${name}`);
    },
    /** Bytes of the weights; null where the blob is not whole. */
    async weightsBytes(digest: string): Promise<number | null> {
      const { config, weights } = filesOf(digest);
      const [configState, weightsState] = await Promise.all([files.stat(config), files.stat(weights)]);
      return configState === null ? null : (weightsState?.bytes ?? null);
    },
    /** Hex digests of both files as they are now; null where one is missing or cannot be read. */
    hash: (digest: string, stop?: AbortSignal) => hashBoth(files, filesOf(digest), stop),
    /** Makes a staged folder, whose files were flushed, the blob; in place of one that is there. */
    async place(staged: string, digest: string, _content: BlobContent | null): Promise<void> {
      await files.syncFolder(staged);
      const isThere = (await files.stat(pathOf(digest))) !== null;
      const removeOld = isThere ? await takeOut(digest) : null;
      await files.rename(staged, pathOf(digest));
      await files.syncFolder(blobs);
      await removeOld?.().catch(() => {});
    },
    remove,
    /** From this machine's disk alone. */
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
