// Reads a whole file of any length into memory of its own: readFile refuses 2 GiB.

import { open } from 'node:fs/promises';

/** Most bytes in one read, safely below the system's limit. */
export const readAtOnce = 2 ** 30;

/** Reads the file. Throws the system's error. */
export async function readWhole(path: string): Promise<Uint8Array<ArrayBuffer>> {
  await using file = await open(path);
  const bytes = new Uint8Array((await file.stat()).size);
  for (let filled = 0; filled < bytes.length; ) {
    const length = Math.min(readAtOnce, bytes.length - filled);
    const { bytesRead } = await file.read(bytes, filled, length, filled);
    if (bytesRead === 0) throw new Error(`${path} ends before byte ${bytes.length}`);
    filled += bytesRead;
  }
  return bytes;
}
