// Copies content into or out of a backup, flushes it, and checks its digest.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hexOf } from '../core/hex-of.ts';
import { adapterDigest } from '../formats/adapter-digest.ts';
import { configName, weightsName } from '../storage/blob-folder.ts';
import { nodeFiles } from '../storage/files.ts';

export const adapterPath = (dataDir: string, digest: string) => join(dataDir, 'adapters', 'blobs', hexOf(digest));
export const filePath = (dataDir: string, digest: string) => join(dataDir, 'training', 'files', 'blobs', hexOf(digest));
export const workPath = (dataDir: string) => join(dataDir, 'training', 'work');

/** Whether the bytes at this path have the digest; false where they are missing. */
export type Check = (path: string, digest: string) => Promise<boolean>;

export const isAdapter: Check = (path, digest) =>
  Promise.all([sha256Of(join(path, configName)), sha256Of(join(path, weightsName))]).then(
    ([config, weights]) => adapterDigest(config, weights) === digest,
    unlessMissing,
  );

export const isFile: Check = (path, digest) => sha256Of(path).then((hex) => `sha256:${hex}` === digest, unlessMissing);

function unlessMissing(error: NodeJS.ErrnoException): false {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
  throw error;
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Copies to `to`, which is there whole or not at all. @returns whether the copy has the digest */
export async function copyChecked(from: string, to: string, digest: string, check: Check): Promise<boolean> {
  const partial = `${to}.partial`;
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  await rm(partial, { recursive: true, force: true });
  const isCopied = await cp(from, partial, { recursive: true }).then(() => true, unlessMissing);
  if (!isCopied || !(await check(partial, digest))) {
    await rm(partial, { recursive: true, force: true });
    return false;
  }
  await rm(to, { recursive: true, force: true });
  await rename(partial, to);
  await nodeFiles.syncFolder(dirname(to));
  return true;
}
