// What a start does before any job runs: the last process may have died anywhere. Afterwards every file on the disk has
// a row, and every work folder a job that needs it.

import { join } from 'node:path';
import type { JobParts } from './parts.ts';
import { liveStates } from './training-jobs.ts';

/** A crash leaves one at most. Many of them mean that this is another database than the folder's. */
const orphansMax = 16;

export async function reconcile({ options, files, folder, jobs }: JobParts): Promise<void> {
  const { log } = options;
  await options.files.makeFolder(options.folder);
  await folder.open();
  const known = await files.digests();
  const orphans = (await folder.digests()).filter((digest) => !known.has(digest));
  if (orphans.length > orphansMax) {
    log.warn({ count: orphans.length }, 'training files unknown to the database are left alone: is it theirs?');
  } else {
    for (const digest of orphans) await folder.remove(digest);
  }
  const live = new Set((await jobs.inStates(liveStates)).map(({ id }) => id));
  const work = join(options.folder, 'work');
  const left = (await options.files.list(work)).filter((id) => !live.has(id));
  for (const id of left) await options.files.remove(join(work, id));
  if (left.length > 0) log.info({ jobs: left }, 'removed work folders of training jobs that are over');
}
