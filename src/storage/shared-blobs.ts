// Adapters' content in a store that many servers share, with this machine's disk as a cache of it by digest. The store
// has content before its row is there; what the cache lacks is fetched again.

import { join } from 'node:path';
import type { Serially } from '../core/serially.ts';
import { seriallyByKey } from '../core/serially-by-key.ts';
import type { BlobFolder } from './blob-folder.ts';
import { blobTransfer, type Hashes } from './blob-transfer.ts';
import { cacheBudget } from './cache-budget.ts';
import type { Files } from './files.ts';
import type { ObjectStore } from './object-store.ts';
import { readText, writeText } from './text-file.ts';

export type CacheRules = {
  /** Bytes of weights to keep on disk; blobs in use are kept beyond it. */
  readonly bytesMax: number;
  /**
   * Whether nobody uses the blob. Where it returns true, the blob counts as gone at once. Called within `exclusive`.
   */
  mayEvict(digest: string): boolean;
  digestOf(hashes: Hashes): string;
  /** Runs work one after another, so that a blob that was placed and is not used yet is not evicted in between. */
  readonly exclusive: Serially;
};

/** Splits digests into pages of the size of one query. */
function* pagesOf(digests: readonly string[]): Generator<readonly string[]> {
  const most = 200;
  for (let first = 0; first < digests.length; first += most) yield digests.slice(first, first + most);
}

export function sharedBlobs(local: BlobFolder, store: ObjectStore, files: Files, rules: CacheRules): BlobFolder {
  const transfer = blobTransfer(local, store, files, rules.digestOf);
  /** Runs work on one content one after another: it is not fetched while it is removed. */
  const inTurn = seriallyByKey();
  /** A file with the name of the store that has all that lies in the folder. */
  const marker = join(local.root, 'shared-in');
  let isAllInStore = false;

  const forget = async (digest: string): Promise<void> => {
    budget.forget(digest);
    await local.remove(digest);
  };
  const evict = async (digest: string): Promise<boolean> => {
    const work = async () => {
      if (!budget.has(digest) || !rules.mayEvict(digest)) return false;
      await forget(digest);
      return true;
    };
    return await rules.exclusive(() => inTurn(digest, work)).catch(() => false);
  };
  const budget = cacheBudget(rules.bytesMax, evict);
  /** Brings a blob into the cache. @returns false where the store does not have it */
  const fetch = async (digest: string): Promise<boolean> => {
    const bytes = await transfer.fetch(digest);
    if (bytes !== null) budget.add(digest, bytes);
    return bytes !== null;
  };

  return {
    ...local,
    isShared: true,
    isAllInStore: () => isAllInStore,
    async open() {
      await local.open();
      isAllInStore = (await readText(files, marker)) === store.name;
      for (const digest of await local.digests()) budget.know(digest, (await local.weightsBytes(digest)) ?? 0);
    },
    async adopt(known) {
      if (isAllInStore) return;
      for (const page of pagesOf(budget.digests())) {
        for (const digest of await known(page)) await transfer.adopt(digest);
      }
      await writeText(files, marker, store.name);
      isAllInStore = true;
    },
    share: transfer.put,
    use: budget.use,
    ...inTurns(),
  };

  function inTurns(): Pick<BlobFolder, 'hash' | 'renew' | 'place' | 'confirm' | 'remove' | 'forget'> {
    const hash = async (digest: string, stop?: AbortSignal) =>
      (await local.weightsBytes(digest)) !== null || (await fetch(digest)) ? await local.hash(digest, stop) : null;
    return {
      hash: (digest, stop) => inTurn(digest, () => hash(digest, stop)),
      renew: (digest) => inTurn(digest, () => local.remove(digest).then(() => fetch(digest))),
      /** Puts the content again where a deletion of the same content came between, and places it. */
      place: (staged, digest, content) =>
        inTurn(digest, async () => {
          if (content === null) throw new Error('What is placed is known.');
          await transfer.putMissing(staged, digest, content);
          await local.place(staged, digest, content);
          budget.add(digest, content.weights.bytes);
        }),
      confirm: (staged, digest, content) => inTurn(digest, () => transfer.confirm(staged, digest, content)),
      remove: (digest) => inTurn(digest, () => transfer.remove(digest).then(() => forget(digest))),
      forget: (digest) => inTurn(digest, () => forget(digest)),
    };
  }
}
