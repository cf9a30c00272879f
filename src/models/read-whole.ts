// A whole file in memory of its own, of any length: readFile refuses 2 GiB.

import { open } from 'node:fs/promises';

/** What the system reads at once at most, with room to spare. */
export const readAtOnce = 2 ** 30;

/** Throws the system's error. */
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
