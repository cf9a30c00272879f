// What a start has to clear up, beside serving: the last process may have died anywhere, and somebody may have touched
// the folder since. However much there is, nobody waits for it. Nothing unknown is removed.

import { hexOf } from '../core/hex-of.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { Deletion } from './deletion.ts';
import type { Parts } from './parts.ts';

const pageSize = 200;

/** Ends what deletions have begun, then the folder has nothing that no version has. */
export async function sweep(parts: Parts, finish: Deletion['finish'], stop: AbortSignal): Promise<void> {
  await finishDeletions(parts, finish, stop);
  await clearFolder(parts, stop);
}

export async function finishDeletions(parts: Parts, finish: Deletion['finish'], stop: AbortSignal): Promise<void> {
  const { names, options } = parts;
  const finishOne = ({ tenant, name, version, digest }: AdapterRow) =>
    finish({ tenant, name, version, digest }).catch((error) => {
      if (!stop.aborted) options.log.error({ err: error, name, version }, 'an adapter could not be removed');
    });
  for await (const page of names.adapters.allNotReady(pageSize)) {
    if (stop.aborted) return;
    for (const row of page) if (row.state === 'deleting') await finishOne(row);
  }
}

/**
 * A crash leaves one content without a version at most; more of them mean an old or another database, and are the
 * adapters of the right one: they are set aside. Of a cache what no version has is nobody's last copy.
 */
export async function clearFolder(parts: Parts, stop: AbortSignal): Promise<void> {
  const { names, blobs, contents, quarantine, exclusive, options } = parts;
  const there = await blobs.digests();
  const setAside: string[] = [];
  for (let first = 0; first < there.length && !stop.aborted; first += pageSize) {
    const page = there.slice(first, first + pageSize);
    const known = await names.adapters.known(page);
    const unknown = page.filter((digest) => !known.has(digest));
    if (unknown.length === 0) continue;
    // An upload may be placing the same content: within the queue of changes its version is there too.
    await exclusive(async () => {
      const arrived = await names.adapters.known(unknown);
      for (const digest of unknown) {
        if (arrived.has(digest) || !(await blobs.isThere(digest))) continue;
        contents.forget(digest);
        if (blobs.isCache()) await blobs.forget(digest);
        else await quarantine.take(blobs.pathOf(digest), hexOf(digest));
        if (!blobs.isCache()) setAside.push(digest);
      }
    });
  }
  if (setAside.length === 0) return;
  const found = { digests: setAside.slice(0, pageSize), count: setAside.length };
  options.log.warn(found, 'adapter files unknown to the database were moved to the quarantine folder');
}
