// Which folder a trainer writes into. Each has one of its own name, to which what the one before it left is moved: a
// trainer that outlives its killed server for a moment finds its paths gone, and can neither replace nor remove what
// its successor reads and writes.

import { dirname, join } from 'node:path';
import type { RunBy } from './events.ts';
import { type JobParts, workFolder } from './parts.ts';

const prefix = 'trainer-';

/** Of a job's trainer that is about to start. One server has the data dir, so nobody else moves them. */
export async function takeTrainerFolder(parts: JobParts, id: string): Promise<string> {
  const { files } = parts.options;
  const work = workFolder(parts, id);
  const own = join(work, `${prefix}${parts.newId()}`);
  const left = (await files.list(work)).find((name) => name.startsWith(prefix));
  if (left !== undefined) await files.rename(join(work, left), own);
  else {
    await files.makeFolder(own);
    // What another server's trainer left.
    await parts.work?.fetch(id, own, checkpoints);
  }
  return own;
}

/** As the trainer calls them. */
const checkpoints = 'checkpoints/';

/** So that another server can go on from them. @param folder of the newest one */
export async function shareCheckpoints({ work, options }: JobParts, by: RunBy, folder: string): Promise<void> {
  if (work === null) return;
  const root = dirname(dirname(folder));
  const there = await options.files.list(join(root, checkpoints));
  const whole = there.filter((name) => /^\d+$/.test(name)).map((name) => `${checkpoints}${name}`);
  await work.put(by, root, whole, (name) => name.startsWith(checkpoints) && !whole.includes(name));
}

const initial = 'initial';

/** What a job goes on from is kept for it, whatever becomes of the adapter. */
export async function shareInitial(parts: JobParts, id: string): Promise<void> {
  await parts.work?.put({ id, epoch: 0 }, workFolder(parts, id), [initial]);
}

export async function fetchInitial(parts: JobParts, id: string): Promise<void> {
  const folder = workFolder(parts, id);
  if (parts.work === null || (await parts.options.files.stat(join(folder, initial))) !== null) return;
  await parts.work.fetch(id, folder, initial);
}
