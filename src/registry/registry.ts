// Opens the registry over a database and a folder, and composes the other files of this folder.

import { LorikeetError } from '../core/errors.ts';
import { hexOf } from '../core/hex-of.ts';
import { repeatedly } from '../core/repeatedly.ts';
import { fairly, type Serially } from '../core/serially.ts';
import { sharedPlaces } from '../core/shared-places.ts';
import { adapterDigest } from '../formats/adapter-digest.ts';
import { type BlobFolder, blobFolder } from '../storage/blob-folder.ts';
import { below } from '../storage/object-store.ts';
import { quarantine } from '../storage/quarantine.ts';
import { unsharedChanges } from '../storage/replicas/changes.ts';
import { type CacheRules, sharedBlobs } from '../storage/shared-blobs.ts';
import { orStorageFull } from '../storage/storage-full.ts';
import { uploadFolder } from '../storage/upload-folder.ts';
import type { AdapterRegistry } from './adapter-registry.ts';
import { aliases } from './aliases.ts';
import { checkContents } from './check-contents.ts';
import { contents } from './contents.ts';
import { type Deletion, deletion } from './deletion.ts';
import { followOthers } from './follow-others.ts';
import { holds } from './holds.ts';
import { names } from './names.ts';
import type { RegistryOptions } from './options.ts';
import type { Parts } from './parts.ts';
import { reading } from './reading.ts';
import { resumableUploads } from './resumable-uploads.ts';
import { stagedAdapter } from './staged-adapter.ts';
import { clearFolder, finishDeletions, sweep } from './sweep.ts';
import { fromRow } from './version-row.ts';

/** Milliseconds between two removals of uploads that were not finished. */
const expiryMs = 60 * 60 * 1000;
/** Milliseconds between two looks for deletions whose server has died. */
const finishMs = 60 * 1000;

/** Opens the registry, in a time that does not grow with the number of adapters. Throws `storage_full`. */
export async function openAdapterRegistry(options: RegistryOptions): Promise<AdapterRegistry> {
  const end = new AbortController();
  const parts = await orStorageFull(() => openParts(options, end.signal));
  const stopExpiry = await expireUploads(parts);
  const { finish, ...deletions } = deletion(parts);
  const { swept, checked } = tidy(parts, finish, end.signal);
  const stopFinishing = finishForOthers(parts, finish, end.signal);
  return {
    swept,
    ...reading(parts),
    ...resumableUploads(parts),
    ...aliases(parts),
    ...deletions,
    async stage(tenant) {
      const release = parts.beginUpload(tenant);
      try {
        return stagedAdapter(parts, tenant, await orStorageFull(() => parts.blobs.stage()), release);
      } catch (error) {
        release();
        throw error;
      }
    },
    markCorrupt: (digest) => parts.exclusive(() => parts.contents.distrust(digest)),
    async close() {
      stopExpiry();
      stopFinishing();
      // Waits for writes under way: the database closes next.
      const written = parts.exclusive(async () => {}).catch(() => {});
      end.abort(new LorikeetError('server_draining'));
      await Promise.all([written, checked]);
    },
  };
}

async function openParts(options: RegistryOptions, stop: AbortSignal): Promise<Parts> {
  const { database, folder, files, log, limits, timers } = options;
  // Publishing a content and removing the same content never overlap.
  const exclusive = untilStopped(fairly(), stop);
  const held = holds();
  const mayEvict = (digest: string): boolean => {
    const isUsed = read.isBeingRead(digest) || held.isUsed(digest);
    if (!isUsed) read.forget(digest);
    return !isUsed;
  };
  const blobs = openBlobs(options, { mayEvict, exclusive });
  await blobs.open();
  const aside = quarantine(folder, files, options.clock.now);
  const known = names({
    ...{ database, timers, kept: limits.versionsKept },
    toKnown: (row) => ({ adapter: fromRow(row), files: blobs.filesOf(row.digest), baseName: row.base_name }),
  });
  const stopped = new Promise<never>((_, reject) => {
    stop.addEventListener('abort', () => reject(stop.reason), { once: true });
  });
  stopped.catch(() => {});
  /** Moves a content back that an earlier start, perhaps with another database, has set aside. */
  const giveBack = async (digest: string): Promise<boolean> => {
    if ((await blobs.isThere(digest)) || !(await aside.giveBack(hexOf(digest), blobs.pathOf(digest)))) return false;
    log.info({ digest }, 'adapter files came back from the quarantine folder');
    return true;
  };
  const read = contents({
    ...{ names: known, blobs, exclusive, log, stop, trustedMax: limits.contentsTrusted },
    renew: blobs.isShared ? blobs.renew : giveBack,
  });
  const parts = {
    ...{ options, names: known, holds: held, blobs, exclusive, stopped },
    uploads: uploadFolder(folder, files),
    quarantine: aside,
    contents: read,
    changes: options.changes ?? unsharedChanges(),
    beginUpload: sharedPlaces(limits.uploads, () => new LorikeetError('too_many_uploads')),
  };
  followOthers(parts);
  if (blobs.isShared && !blobs.isAllInStore()) {
    await clearFolder(parts, stop);
    await blobs.adopt(known.adapters.known);
  }
  return parts;
}

type EvictionRules = Pick<CacheRules, 'mayEvict' | 'exclusive'>;

function openBlobs({ folder, files, newId, shared }: RegistryOptions, rules: EvictionRules): BlobFolder {
  const local = blobFolder(folder, files, newId);
  if (shared === undefined) return local;
  return sharedBlobs(local, below(shared.store, 'adapters'), files, {
    bytesMax: shared.cacheBytes,
    digestOf,
    ...rules,
  });
}

const digestOf = ({ config, weights }: { config: string; weights: string }) => adapterDigest(config, weights);

function untilStopped(queue: Serially, stop: AbortSignal): Serially {
  return (work) =>
    queue(() => {
      stop.throwIfAborted();
      return orStorageFull(work);
    });
}

/** Removes old uploads and quarantined contents, now and every hour. @returns a function that stops it */
async function expireUploads({ uploads, quarantine, options }: Parts): Promise<() => void> {
  const { clock, timers, limits, log } = options;
  const expire = async () => {
    await uploads.expire(clock.now() - limits.uploadKeptMs);
    await quarantine.expire(clock.now() - limits.quarantineMs);
  };
  await expire();
  const complain = (error: unknown) => log.error({ err: error }, 'old uploads could not be removed');
  return repeatedly(timers, expiryMs, () => expire().catch(complain));
}

/** Periodically completes deletions of servers that died. @returns a function that stops it */
function finishForOthers(parts: Parts, finish: Deletion['finish'], stop: AbortSignal): () => void {
  const { changes, options } = parts;
  if (!changes.isShared) return () => {};
  return repeatedly(options.timers, finishMs, () => finishDeletions(parts, finish, stop).catch(() => {}));
}

/** Clears up beside serving, then checks contents. `swept` resolves when the folder agrees with the database. */
function tidy(parts: Parts, finish: Deletion['finish'], stop: AbortSignal) {
  const { blobs, options } = parts;
  const complain = (message: string) => (error: unknown) => {
    if (!stop.aborted) options.log.error({ err: error }, message);
  };
  const swept = sweep(parts, finish, stop).catch(complain('what an earlier process left could not be cleared up'));
  const check = async () => {
    if (!blobs.isShared) await checkContents(parts, stop);
  };
  return { swept, checked: swept.then(check).catch(complain('adapters could not be read')) };
}
