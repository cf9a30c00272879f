// Writes a folder so that it is either whole or absent: under another name, every file flushed, then renamed. If the
// process is killed in between, the other name stays, and `removeUnfinished` finds it.

import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { publish } from '../models/write-atomically.ts';

export type FolderFiles = Readonly<Record<string, Uint8Array>>;

/** Writes and flushes a file; replaced in tests that make the disk fail. */
export type WriteFile = (path: string, bytes: Uint8Array) => Promise<void>;

const writeFlushed: WriteFile = (path, bytes) => writeFile(path, bytes, { flush: true });

/** Writes a folder in place of what stands at `path`. */
export async function writeFolder(path: string, files: FolderFiles, write: WriteFile = writeFlushed): Promise<void> {
  const temporary = join(dirname(path), `${unfinished}${basename(path)}.${randomUUID()}`);
  try {
    // Does not make the parent folder: if somebody moved it away, this process has nothing more to write.
    await mkdir(temporary, { mode: 0o700 });
    for (const [name, bytes] of Object.entries(files)) await write(join(temporary, name), bytes);
    await flushFolder(temporary);
    await rm(path, { recursive: true, force: true });
    await publish(temporary, path);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

const unfinished = '.unfinished-';

/** Deletes folders that a killed process left behind in `parent`. */
export async function removeUnfinished(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  const left = names.filter((name) => name.startsWith(unfinished));
  await Promise.all(left.map((name) => rm(join(parent, name), { recursive: true, force: true })));
}

async function flushFolder(path: string): Promise<void> {
  // Windows cannot open a folder, and needs no such flush.
  const folder = await open(path, 'r').catch(() => null);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
