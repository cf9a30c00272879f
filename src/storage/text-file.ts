// A small text file that is there whole or not at all.

import { join } from 'node:path';
import type { Files } from './files.ts';

/** null where the file is not there. */
export async function readText(files: Files, path: string): Promise<string | null> {
  const state = await files.stat(path);
  if (state === null) return null;
  const file = await files.open(path);
  try {
    return Buffer.from(await file.read(0, state.bytes)).toString();
  } finally {
    await file.close();
  }
}

export async function writeText(files: Files, path: string, text: string): Promise<void> {
  await files.remove(`${path}.new`);
  const file = await files.create(`${path}.new`);
  try {
    await file.write(Buffer.from(text));
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(`${path}.new`, path);
  await files.syncFolder(join(path, '..'));
}
