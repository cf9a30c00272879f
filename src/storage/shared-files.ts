// Copies single files between a folder and a store that many servers share. A file's key is the hex of its digest.

import { hexOf } from '../core/hex-of.ts';
import type { Files } from './files.ts';
import type { ObjectStore } from './object-store.ts';
import { fileSha256, receiveAll } from './receive.ts';

export type FilePlaces = { pathOf(digest: string): string; newPath(): string };

export function sharedFiles(store: ObjectStore, files: Files, { pathOf, newPath }: FilePlaces) {
  return {
    put: (digest: string, path: string, bytes: number): Promise<void> =>
      store.put(hexOf(digest), { path, bytes, sha256: hexOf(digest) }),
    remove: (digest: string): Promise<void> => store.remove(hexOf(digest)),
    /** Brings a file into the folder, unless it is there. Does nothing where the store lacks it. */
    async fetch(digest: string): Promise<void> {
      const source = (await files.stat(pathOf(digest))) !== null ? null : await store.get(hexOf(digest));
      if (source === null) return;
      const path = newPath();
      try {
        await receiveAll(source, files, path);
      } catch (error) {
        await files.remove(path).catch(() => {});
        throw error;
      }
      await files.rename(path, pathOf(digest));
    },
    /** Puts those that are in the folder and intact into the store, unless the store has them. */
    async adopt(digests: Iterable<string>): Promise<void> {
      for (const digest of digests) {
        const state = await files.stat(pathOf(digest));
        if (state === null || (await store.bytes(hexOf(digest))) !== null) continue;
        const sha256 = await fileSha256(files, pathOf(digest));
        if (sha256 === hexOf(digest)) await store.put(sha256, { path: pathOf(digest), bytes: state.bytes, sha256 });
      }
    },
  };
}
