// Writes files so that they are complete or absent: under another name, flushed to the disk, renamed, and the rename
// flushed too. A process killed in between leaves the other name behind, never a partial file under the real one.

import { randomUUID } from 'node:crypto';
import { open, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** @param content whole, or in pieces, so that it need not be in memory at once */
export async function writeAtomically(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, content, { flush: true });
    await publish(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Gives a finished file its real name. Its bytes must already be flushed. */
export async function publish(temporary: string, path: string): Promise<void> {
  await rename(temporary, path);
  // Windows cannot open a folder, and needs no such flush.
  const folder = await open(dirname(path), 'r').catch(() => null);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
