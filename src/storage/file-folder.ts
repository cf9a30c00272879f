// Single files on disk by digest, as durable as the adapters' blobs. Knows bytes; knows no name, no tenant, no row.
//
//   blobs/<hex of the digest>
//   staging/<id>               files that are being received: emptied at every start

import { digestFolder } from './digest-folder.ts';
import type { Files } from './files.ts';
import type { ObjectStore } from './object-store.ts';
import { fileSha256, type Received, receive } from './receive.ts';
import { sharedFiles } from './shared-files.ts';

export type FileFolder = ReturnType<typeof fileFolder>;

type Source = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** A file that was flushed and has no place by its digest yet. */
export type StagedFile = Received & { readonly path: string; readonly digest: string };

/**
 * @param root an absolute path; everything below it lies on one file system.
 * @param store the store that other servers share; null: none
 */
export function fileFolder(root: string, files: Files, newId: () => string, store: ObjectStore | null = null) {
  const { pathOf, newPath, sync, open, digests } = digestFolder(root, files, newId);
  const shared = store === null ? null : sharedFiles(store, files, { pathOf, newPath });
  return {
    pathOf,
    /** Fetches the file from the store, unless it is in the folder. */
    fetch: async (digest: string): Promise<void> => await shared?.fetch(digest),
    /** Puts those of the files that are in the folder into the store. */
    adopt: async (digests: Iterable<string>): Promise<void> => await shared?.adopt(digests),
    open,
    /** Writes and flushes all bytes of `source`; an incomplete file is removed. `onTooLong` must throw. */
    async stage(source: Source, bytesMax: number, onTooLong: () => never): Promise<StagedFile> {
      const path = newPath();
      const file = await files.create(path);
      try {
        const received = await receive(source, file, bytesMax, onTooLong);
        await file.sync();
        return { ...received, path, digest: `sha256:${received.sha256}` };
      } catch (error) {
        await files.remove(path).catch(() => {});
        throw error;
      } finally {
        await file.close();
      }
    },
    discard: ({ path }: StagedFile): Promise<void> => files.remove(path),
    /**
     * Moves a staged file to its place. It may replace one there: the bytes are the same, and these are known to be
     * whole.
     */
    async place({ path, digest, bytes }: StagedFile): Promise<void> {
      await shared?.put(digest, path, bytes);
      await files.rename(path, pathOf(digest));
      await sync();
    },
    /** Puts the file into the store again where another server has removed it. */
    confirm: async (digest: string, bytes: number): Promise<void> => await shared?.put(digest, pathOf(digest), bytes),
    async remove(digest: string): Promise<void> {
      await shared?.remove(digest);
      await files.remove(pathOf(digest));
      await sync();
    },
    digests,
    /** Reads the whole file, and says whether its bytes still have this digest. */
    async isIntact(digest: string): Promise<boolean> {
      await shared?.fetch(digest);
      if ((await files.stat(pathOf(digest))) === null) return false;
      return `sha256:${await fileSha256(files, pathOf(digest))}` === digest;
    },
  };
}
