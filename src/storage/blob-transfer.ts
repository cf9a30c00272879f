// Copies adapters' content between a folder and a store that many servers share.
//
//   adapters/<hex of the digest>/adapter_model.safetensors
//   adapters/<hex of the digest>/adapter_config.json          put last: says that both are there

import { join } from 'node:path';
import { hexOf } from '../core/hex-of.ts';
import { type BlobContent, type BlobFolder, configName, weightsName } from './blob-folder.ts';
import type { Files } from './files.ts';
import type { ObjectStore } from './object-store.ts';
import { receiveAll } from './receive.ts';
import { orStorageFull } from './storage-full.ts';

const names = [weightsName, configName] as const;

const keyOf = (digest: string, name: string) => `${hexOf(digest)}/${name}`;

export type Hashes = NonNullable<Awaited<ReturnType<BlobFolder['hash']>>>;

/** @param digestOf the digest of the content with these hashes */
export function blobTransfer(
  local: BlobFolder,
  store: ObjectStore,
  files: Files,
  digestOf: (hashes: Hashes) => string,
) {
  const put = async (folder: string, digest: string, content: BlobContent, replaces: boolean): Promise<void> => {
    const parts = { [weightsName]: content.weights, [configName]: content.config };
    for (const name of names) {
      await store.put(keyOf(digest, name), { path: join(folder, name), ...parts[name] }, { replaces });
    }
  };
  const putMissing = async (folder: string, digest: string, content: BlobContent): Promise<void> => {
    const found = await Promise.all(names.map((name) => store.bytes(keyOf(digest, name))));
    if (found.includes(null)) await put(folder, digest, content, false);
  };
  return {
    put,
    /** Puts the content again where the store lacks one of its files. */
    putMissing,
    /** Does what `putMissing` does, from the blob's place, or from `staged` where it is not placed yet. */
    async confirm(staged: string, digest: string, content: BlobContent): Promise<void> {
      const isHere = (await local.weightsBytes(digest)) !== null;
      await putMissing(isHere ? local.pathOf(digest) : staged, digest, content);
    },
    /** Brings the blob into the folder. @returns the bytes of its weights; null where the store does not have it */
    fetch: (digest: string): Promise<number | null> =>
      orStorageFull(async () => {
        const staged = await local.stage();
        try {
          const sizes = [];
          for (const name of names) {
            const source = await store.get(keyOf(digest, name));
            if (source === null) return null;
            sizes.push((await receiveAll(source, files, join(staged, name))).bytes);
          }
          await local.place(staged, digest, null);
          return sizes[0]!;
        } finally {
          await local.discard(staged).catch(() => {});
        }
      }),
    /** Puts a blob of the folder into the store if it is intact. A damaged one is left for its first user to report. */
    async adopt(digest: string): Promise<void> {
      const folder = local.pathOf(digest);
      const hashes = await local.hash(digest);
      if (hashes === null || digestOf(hashes) !== digest) return;
      const [weights, config] = await Promise.all(names.map((name) => files.stat(join(folder, name))));
      const content = {
        weights: { bytes: weights!.bytes, sha256: hashes.weights },
        config: { bytes: config!.bytes, sha256: hashes.config },
      };
      await put(folder, digest, content, false);
    },
    async remove(digest: string): Promise<void> {
      for (const name of names.toReversed()) await store.remove(keyOf(digest, name));
    },
  };
}
