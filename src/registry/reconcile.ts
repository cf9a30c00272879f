// What a start does before anything is served: the last process may have died anywhere, and somebody may have touched
// the folder since. Afterwards rows and blobs agree, or the rows say that they do not. Nothing unknown is removed.

import { hexOf } from '../core/hex-of.ts';
import type { AdapterTable } from '../storage/adapter-table.ts';
import type { BlobFolder } from '../storage/blob-folder.ts';
import type { Quarantine } from '../storage/quarantine.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { RegistryLog } from './options.ts';

type Reconciled = {
  readonly adapters: AdapterTable;
  readonly blobs: BlobFolder;
  readonly quarantine: Quarantine;
  readonly log: RegistryLog;
};

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
  // Of a cache what no row names is nobody's last copy, and what is missing is fetched when it is asked for.
  if (blobs.isCache()) {
    for (const digest of await blobs.digests()) if (!digests.has(digest)) await blobs.forget(digest);
    return kept;
  }
  await setOrphansAside(parts, digests);
  if (!blobs.isShared) await findMissing(parts, kept);
  await blobs.adopt(digests);
  return kept;
}

/** A crash leaves one at most; more of them mean an old or another database, and are the adapters of the right one. */
async function setOrphansAside({ blobs, quarantine, log }: Reconciled, digests: ReadonlySet<string>): Promise<void> {
  const orphans = (await blobs.digests()).filter((digest) => !digests.has(digest));
  for (const digest of orphans) await quarantine.take(blobs.pathOf(digest), hexOf(digest));
  if (orphans.length === 0) return;
  log.warn({ digests: orphans }, 'adapter files unknown to the database were moved to the quarantine folder');
}

/**
 * Existence and size of every blob, which takes microseconds each. Their bytes are read later: in the background, and
 * before the first request that uses them in any case.
 */
async function findMissing(parts: Reconciled, rows: readonly AdapterRow[]): Promise<void> {
  const { adapters, log } = parts;
  for (const [digest, same] of Map.groupBy(rows, ({ digest }) => digest)) {
    if (await isThere(parts, digest, same[0]!.bytes)) continue;
    const broken = same.filter(({ state }) => state === 'ready');
    if (broken.length === 0) continue;
    await adapters.setState(digest, 'ready', 'corrupt');
    for (const row of broken) row.state = 'corrupt';
    const names = broken.map(({ name, version }) => `${name}@${version}`);
    log.error({ digest, adapters: names }, 'the files of an adapter are missing or of another size');
  }
}

/** A start with another database may have set it aside. */
async function isThere({ blobs, quarantine, log }: Reconciled, digest: string, bytes: number): Promise<boolean> {
  const found = await blobs.weightsBytes(digest);
  if (found !== null) return found === bytes;
  if (await blobs.isThere(digest)) return false;
  if (!(await quarantine.giveBack(hexOf(digest), blobs.pathOf(digest)))) return false;
  log.info({ digest }, 'adapter files came back from the quarantine folder');
  return (await blobs.weightsBytes(digest)) === bytes;
}
