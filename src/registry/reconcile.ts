// What a start does before anything is served: the last process may have died anywhere, and somebody may have touched
// the folder since. Afterwards rows and blobs agree, or the rows say that they do not.

import type { AdapterTable } from '../storage/adapter-table.ts';
import type { BlobFolder } from '../storage/blob-folder.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { RegistryLog } from './options.ts';

/**
 * A crash leaves one blob without a row at most. Many of them mean that this is another database than the folder's, or
 * an old copy of it, and the adapters of the right one are not rubbish.
 */
const orphansMax = 16;

type Reconciled = { readonly adapters: AdapterTable; readonly blobs: BlobFolder; readonly log: RegistryLog };

/** @returns the rows that are left. */
export async function reconcile(parts: Reconciled): Promise<AdapterRow[]> {
  const { adapters, blobs } = parts;
  await blobs.open();
  const rows = Map.groupBy(await adapters.all(), ({ state }) => state === 'deleting');
  const kept = rows.get(false) ?? [];
  const digests = new Set(kept.map(({ digest }) => digest));
  for (const { tenant, name, version, digest } of rows.get(true) ?? []) {
    if (!digests.has(digest)) await blobs.remove(digest);
    await adapters.delete(tenant, name, version);
  }
  await collectOrphans(parts, digests);
  await markMissing(parts, kept);
  return kept;
}

async function collectOrphans({ blobs, log }: Reconciled, digests: ReadonlySet<string>): Promise<void> {
  const orphans = (await blobs.digests()).filter((digest) => !digests.has(digest));
  if (orphans.length > orphansMax) {
    log.warn({ count: orphans.length }, 'adapter files unknown to the database are left alone: is it theirs?');
    return;
  }
  for (const digest of orphans) await blobs.remove(digest);
  if (orphans.length > 0) log.info({ digests: orphans }, 'removed adapter files of uploads that were cut short');
}

/**
 * Existence and size of every blob, which takes microseconds each. Their bytes are read later: in the background, and
 * before the first request that uses them in any case.
 */
async function markMissing({ adapters, blobs, log }: Reconciled, rows: readonly AdapterRow[]): Promise<void> {
  const ready = Map.groupBy(rows, ({ digest }) => digest);
  for (const [digest, same] of ready) {
    if ((await blobs.weightsBytes(digest)) === same[0]!.bytes) continue;
    const broken = same.filter(({ state }) => state === 'ready');
    if (broken.length === 0) continue;
    await adapters.setState(digest, 'ready', 'corrupt');
    for (const row of broken) row.state = 'corrupt';
    const names = broken.map(({ name, version }) => `${name}@${version}`);
    log.error({ digest, adapters: names }, 'the files of an adapter are missing or of another size');
  }
}
