// Which folder a trainer writes into. Each has one of its own name, to which what the one before it left is moved: a
// trainer that outlives its killed server for a moment finds its paths gone, and can neither replace nor remove what
// its successor reads and writes.

import { join } from 'node:path';
import { type JobParts, workFolder } from './parts.ts';

const prefix = 'trainer-';

/** Of a job's trainer that is about to start. One server has the data dir, so nobody else moves them. */
export async function takeTrainerFolder(parts: JobParts, id: string): Promise<string> {
  const { files } = parts.options;
  const work = workFolder(parts, id);
  const own = join(work, `${prefix}${parts.newId()}`);
  const left = (await files.list(work)).find((name) => name.startsWith(prefix));
  if (left === undefined) await files.makeFolder(own);
  else await files.rename(join(work, left), own);
  return own;
}
