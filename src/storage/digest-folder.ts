// A folder of contents by digest, with a folder on the same file system where contents are received or removed.
//
//   blobs/<hex of the digest>
//   staging/<id>               emptied at every start

import { join } from 'node:path';
import { hexOf } from '../core/hex-of.ts';
import type { Files } from './files.ts';

/** @param root an absolute path; everything below it lies on one file system. */
export function digestFolder(root: string, files: Files, newId: () => string) {
  const [blobs, staging] = [join(root, 'blobs'), join(root, 'staging')];
  return {
    pathOf: (digest: string) => join(blobs, hexOf(digest)),
    /** A new path in the staging folder. */
    newPath: () => join(staging, newId()),
    /** Makes additions, removals and renames of contents survive a power cut. */
    sync: () => files.syncFolder(blobs),
    /** Makes the folders, and empties the staging folder. */
    async open(): Promise<void> {
      await files.makeFolder(blobs);
      await files.makeFolder(staging);
      for (const name of await files.list(staging)) await files.remove(join(staging, name));
      await files.syncFolder(root);
    },
    /** Digests of the contents in the folder. Entries with other names are not the server's and are left out. */
    async digests(): Promise<string[]> {
      const names = await files.list(blobs);
      return names.filter((name) => /^[0-9a-f]{64}$/.test(name)).map((name) => `sha256:${name}`);
    },
  };
}
