// Clears up after the last process, which may have died at any point, and after changes of the folder by others. It
// runs beside serving, and nothing waits for it. Unknown content is moved aside, not removed.

import { hexOf } from '../core/hex-of.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { Deletion } from './deletion.ts';
import type { Parts } from './parts.ts';

const pageSize = 200;

/** Completes interrupted deletions, then clears the folder of contents without a version. */
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
 * Moves contents without a version aside. A crash leaves one at most; more of them mean an old or another database, and
 * are the adapters of the right one. From a cache they are removed: the store has them.
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
    // An upload may be placing the same content. Within the queue of changes its row is there too.
    await exclusive(async () => {
      const arrived = await names.adapters.known(unknown);
      for (const digest of unknown) {
        if (arrived.has(digest) || !(await blobs.isThere(digest))) continue;
        contents.forget(digest);
        if (blobs.isAllInStore()) await blobs.forget(digest);
        else await quarantine.take(blobs.pathOf(digest), hexOf(digest));
        if (!blobs.isAllInStore()) setAside.push(digest);
      }
    });
  }
  if (setAside.length === 0) return;
  const found = { digests: setAside.slice(0, pageSize), count: setAside.length };
  options.log.warn(found, 'adapter files unknown to the database were moved to the quarantine folder');
}
