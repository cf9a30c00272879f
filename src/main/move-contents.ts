// Copies a data dir's adapters and files of rows into an object store that servers share. The first start with that
// store would do the same work; objects that are in the store already are not put again.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { systemClock, systemTimers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { hexOf } from '../core/hex-of.ts';
import { limits } from '../core/limits.ts';
import { prng } from '../core/prng.ts';
import { openAdapterRegistry } from '../registry/registry.ts';
import { adapterTable } from '../storage/adapter-table.ts';
import { configName } from '../storage/blob-folder.ts';
import type { Database } from '../storage/database.ts';
import { fileFolder } from '../storage/file-folder.ts';
import { fileTable } from '../storage/file-table.ts';
import { nodeFiles } from '../storage/files.ts';
import { below, type ObjectStore } from '../storage/object-store.ts';

export type MovedContents = {
  readonly adapters: number;
  readonly files: number;
  /** Digests that the database names and whose bytes were missing or damaged already: they are not in the store. */
  readonly damaged: readonly string[];
};

export type MoveLog = Parameters<typeof openAdapterRegistry>[0]['log'];

/** Copies all contents. Throws `storage_unavailable`; a later run continues where this one stopped. */
export async function moveContents(
  dataDir: string,
  database: Database,
  store: ObjectStore,
  log: MoveLog,
): Promise<MovedContents> {
  const [adapterStore, fileStore] = [below(store, 'adapters'), below(store, 'training')];
  const damaged: string[] = [];
  const registry = await openAdapterRegistry({
    ...{ database, folder: join(dataDir, 'adapters'), limits, log, files: nodeFiles, newId: randomUUID },
    ...{ clock: systemClock, timers: systemTimers, random: prng(1) },
    // No model runs in this process, and nothing is uploaded.
    base: { name: '', digest: '', shape: withoutModel },
    check: withoutModel,
    shared: { store, cacheBytes: Number.MAX_SAFE_INTEGER },
  });
  await registry.swept;
  await registry.close();
  // Deletions that were under way are finished by now, so contents that they removed do not count as missing.
  const adapters = await countWhole(adapterDigests(database), damaged, async (digest) => {
    return (await adapterStore.bytes(`${hexOf(digest)}/${configName}`)) !== null;
  });

  const digests = await fileTable(database).digests();
  await fileFolder(join(dataDir, 'training', 'files'), nodeFiles, randomUUID, fileStore).adopt(digests);
  const files = await countWhole(digests, damaged, async (digest) => (await fileStore.bytes(hexOf(digest))) !== null);
  return { adapters, files, damaged };
}

async function countWhole(
  digests: Iterable<string> | AsyncIterable<string>,
  damaged: string[],
  isWhole: (digest: string) => Promise<boolean>,
): Promise<number> {
  let count = 0;
  for await (const digest of digests) {
    if (await isWhole(digest)) count++;
    else damaged.push(digest);
  }
  return count;
}

async function* adapterDigests(database: Database): AsyncGenerator<string> {
  for await (const page of adapterTable(database).allDigests('', 200)) yield* page;
}

function withoutModel(): never {
  throw new LorikeetError('engine_unavailable');
}
