// Caches SHA-256 digests of files by path, length and times of change, so that a second start does not read the weights
// again only to hash them.

import { createHash } from 'node:crypto';
import { type BigIntStats, createReadStream } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FoundFiles } from './local-model.ts';
import type { FetchReport } from './progress.ts';
import { writeAtomically } from './write-atomically.ts';

export type DigestCache = {
  /** Digest in hex; from the cache where the file has not changed. */
  digestOf(path: string): Promise<string>;
};

export function digestCache(folder: string, report: FetchReport): DigestCache {
  const entryPath = (path: string) => join(folder, `${createHash('sha256').update(path).digest('hex')}.json`);
  const store = async (path: string, stats: BigIntStats, sha256: string) => {
    // A cache that cannot be written only costs time at the next start.
    await mkdir(folder, { recursive: true }).catch(() => {});
    await writeAtomically(entryPath(path), JSON.stringify({ path, state: stateOf(stats), sha256 })).catch(() => {});
  };
  return {
    async digestOf(path) {
      const stats = await stat(path, { bigint: true });
      const entry = await readFile(entryPath(path), 'utf8')
        .then(JSON.parse)
        .catch(() => null);
      if (entry?.state === stateOf(stats)) return entry.sha256;
      const sha256 = await hashFile(path, Number(stats.size), report);
      await store(path, stats, sha256);
      return sha256;
    },
  };
}

/**
 * The state of a file. The change time is part of it, because a copy can get the old modification time but not the old
 * change time.
 */
const stateOf = (stats: BigIntStats) => `${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`;

/** Computes the base digest. Weights are named by their position, so that a renamed GGUF is still the same base. */
export async function modelDigest(files: FoundFiles, cache: DigestCache): Promise<string> {
  const parts = [
    ...files.weights.map((path, index) => [`weights/${index}`, path] as const),
    ...Object.entries(files.sidecars).sort(([a], [b]) => (a < b ? -1 : 1)),
  ];
  const all = createHash('sha256');
  for (const [part, path] of parts) all.update(`${part} ${await cache.digestOf(path)}\n`);
  return `sha256:${all.digest('hex')}`;
}

async function hashFile(path: string, totalBytes: number, report: FetchReport): Promise<string> {
  const hash = createHash('sha256');
  let receivedBytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk);
    receivedBytes += chunk.length;
    report.onProgress({ phase: 'verify', item: path, receivedBytes, totalBytes });
  }
  return hash.digest('hex');
}
