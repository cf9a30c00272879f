// The folder that a trainer writes into. Each trainer has a folder of its own name, to which its predecessor's content
// is moved. A trainer that outlives its killed server for a moment then finds its paths gone, and cannot change what
// its successor reads and writes.

import { dirname, join } from 'node:path';
import type { RunBy } from './events.ts';
import { type JobParts, workFolder } from './parts.ts';

const prefix = 'trainer-';

/** Makes the folder for a job's trainer that is about to start. No other process uses this data dir. */
export async function takeTrainerFolder(parts: JobParts, id: string): Promise<string> {
  const { files } = parts.options;
  const work = workFolder(parts, id);
  const own = join(work, `${prefix}${parts.newId()}`);
  const left = (await files.list(work)).find((name) => name.startsWith(prefix));
  if (left !== undefined) await files.rename(join(work, left), own);
  else {
    await files.makeFolder(own);
    // Checkpoints that another server's trainer has left.
    await parts.work?.fetch(id, own, checkpoints);
  }
  return own;
}

/** Folder of the checkpoints, as the trainer names it. */
const checkpoints = 'checkpoints/';

/**
 * Puts the checkpoints into the store, so that another server can continue from them. @param folder of the newest one
 */
export async function shareCheckpoints({ work, options }: JobParts, by: RunBy, folder: string): Promise<void> {
  if (work === null) return;
  const root = dirname(dirname(folder));
  const there = await options.files.list(join(root, checkpoints));
  const whole = there.filter((name) => /^\d+$/.test(name)).map((name) => `${checkpoints}${name}`);
  await work.put(by, root, whole, (name) => name.startsWith(checkpoints) && !whole.includes(name));
}

const initial = 'initial';

/** Puts the adapter that a job continues from into the store, since the adapter itself may be deleted. */
export async function shareInitial(parts: JobParts, id: string): Promise<void> {
  await parts.work?.put({ id, epoch: 0 }, workFolder(parts, id), [initial]);
}

export async function fetchInitial(parts: JobParts, id: string): Promise<void> {
  const folder = workFolder(parts, id);
  if (parts.work === null || (await parts.options.files.stat(join(folder, initial))) !== null) return;
  await parts.work.fetch(id, folder, initial);
}
