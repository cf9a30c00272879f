// Brings folder and database into agreement at a start, since the last process may have died at any point. Afterwards
// every file on disk has a row, and every work folder has a live job. Unknown content is moved to the quarantine, not
// removed.

import { join } from 'node:path';
import { hexOf } from '../core/hex-of.ts';
import { limits } from '../core/limits.ts';
import { quarantine } from '../storage/quarantine.ts';
import type { JobParts } from './parts.ts';
import { finishedStates, liveStates } from './training-jobs.ts';

export async function reconcile(parts: JobParts): Promise<void> {
  const { options, files, folder, jobs, clock } = parts;
  const { log } = options;
  const aside = quarantine(options.folder, options.files, clock.now);
  await options.files.makeFolder(options.folder);
  await folder.open();
  await aside.expire(clock.now() - limits.quarantineMs);
  const known = await files.digests();
  const there = new Set(await folder.digests());
  const orphans = [...there].filter((digest) => !known.has(digest));
  for (const digest of orphans) await aside.take(folder.pathOf(digest), hexOf(digest));
  if (orphans.length > 0) {
    log.warn({ digests: orphans }, 'training files unknown to the database were moved to the quarantine folder');
  }
  for (const digest of known) if (!there.has(digest)) await aside.giveBack(hexOf(digest), folder.pathOf(digest));
  await folder.adopt(known);
  await clearWork(parts, {
    live: new Set((await jobs.inStates(liveStates)).map(({ id }) => id)),
    over: new Set((await jobs.inStates(finishedStates)).map(({ id }) => id)),
    setAside: aside.take,
  });
}

type Work = {
  readonly live: ReadonlySet<string>;
  readonly over: ReadonlySet<string>;
  setAside(path: string, name: string): Promise<void>;
};

/**
 * Removes folders of jobs that are over. The folder of an unknown job may belong to another database, and is moved
 * aside.
 */
async function clearWork({ options }: JobParts, { live, over, setAside }: Work): Promise<void> {
  const work = join(options.folder, 'work');
  const left = (await options.files.list(work)).filter((id) => !live.has(id));
  for (const id of left) {
    if (over.has(id)) await options.files.remove(join(work, id));
    else await setAside(join(work, id), id);
  }
  if (left.length > 0) options.log.info({ jobs: left }, 'cleared work folders of training jobs that do not run');
}
