// The registry over a database and a folder: opens both, and puts together what the other files here can do.

import { LorikeetError } from '../core/errors.ts';
import { type Serially, serially } from '../core/serially.ts';
import { sharedPlaces } from '../core/shared-places.ts';
import { adapterTable } from '../storage/adapter-table.ts';
import { aliasTable } from '../storage/alias-table.ts';
import { type BlobFolder, blobFolder } from '../storage/blob-folder.ts';
import { below } from '../storage/object-store.ts';
import { quarantine } from '../storage/quarantine.ts';
import { type CacheRules, sharedBlobs } from '../storage/shared-blobs.ts';
import { orStorageFull } from '../storage/storage-full.ts';
import { uploadFolder } from '../storage/upload-folder.ts';
import type { AdapterRegistry } from './adapter-registry.ts';
import { aliases } from './aliases.ts';
import { catalogue, newEntry } from './catalogue.ts';
import { contents } from './contents.ts';
import { deletion } from './deletion.ts';
import type { RegistryOptions } from './options.ts';
import type { Parts } from './parts.ts';
import { reading } from './reading.ts';
import { reconcile } from './reconcile.ts';
import { resumableUploads } from './resumable-uploads.ts';
import { stagedAdapter } from './staged-adapter.ts';
import { fromRow } from './version-row.ts';

/** How often uploads that nobody finished are looked for. */
const expiryMs = 60 * 60 * 1000;

/** Brings the folder and the database into agreement first. Throws `storage_full`. */
export async function openAdapterRegistry(options: RegistryOptions): Promise<AdapterRegistry> {
  const end = new AbortController();
  const parts = await orStorageFull(() => openParts(options, end.signal));
  const stopExpiry = await expireUploads(parts);
  if (!parts.blobs.isShared) void verifyAll(parts, end.signal);
  return {
    ...reading(parts),
    ...resumableUploads(parts),
    ...aliases(parts),
    ...deletion(parts),
    async stage(tenant) {
      const release = parts.beginUpload(tenant);
      try {
        return stagedAdapter(parts, await orStorageFull(() => parts.blobs.stage()), release);
      } catch (error) {
        release();
        throw error;
      }
    },
    markCorrupt: (digest) => parts.exclusive(() => parts.contents.distrust(digest)),
    async close() {
      stopExpiry();
      // What has begun to write is waited for: the database closes next.
      const written = parts.exclusive(async () => {}).catch(() => {});
      end.abort(new LorikeetError('server_draining'));
      await written;
    },
  };
}

async function openParts(options: RegistryOptions, stop: AbortSignal): Promise<Parts> {
  const { database, folder, base, files, log } = options;
  const adapters = adapterTable(database);
  const aliasRows = aliasTable(database);
  // Publishing a content and removing the same content never overlap, and memory changes in the order of the database.
  const exclusive = untilStopped(serially(), stop);
  const mayEvict = (digest: string): boolean => {
    const isUsed = read.isBeingRead(digest) || [...entries.ofDigest(digest)].some(({ leases }) => leases > 0);
    if (!isUsed) read.forget(digest);
    return !isUsed;
  };
  const blobs = openBlobs(options, { mayEvict, exclusive });
  const aside = quarantine(folder, files, options.clock.now);
  const entries = catalogue(base.digest);
  for (const row of await reconcile({ adapters, blobs, quarantine: aside, log })) {
    const adapter = fromRow(row);
    entries.add(newEntry({ adapter, files: blobs.filesOf(row.digest), baseName: row.base_name }));
  }
  for (const { tenant, name, alias, targets, revision, updated_at: updatedAt } of await aliasRows.all()) {
    entries.find(tenant, name)?.aliases.set(alias, { name, alias, targets, revision, updatedAt });
  }
  const stopped = new Promise<never>((_, reject) => {
    stop.addEventListener('abort', () => reject(stop.reason), { once: true });
  });
  stopped.catch(() => {});
  const read = contents({ adapters, blobs, catalogue: entries, exclusive, log, stop });
  return {
    ...{ options, adapters, aliases: aliasRows, blobs, exclusive, stopped, catalogue: entries },
    uploads: uploadFolder(folder, files),
    quarantine: aside,
    contents: read,
    beginUpload: sharedPlaces(options.limits.uploads, () => new LorikeetError('too_many_uploads')),
  };
}

type EvictionRules = Pick<CacheRules, 'mayEvict' | 'exclusive'>;

function openBlobs({ folder, files, newId, shared }: RegistryOptions, rules: EvictionRules): BlobFolder {
  const local = blobFolder(folder, files, newId);
  if (shared === undefined) return local;
  return sharedBlobs(local, below(shared.store, 'adapters'), files, { bytesMax: shared.cacheBytes, ...rules });
}

function untilStopped(queue: Serially, stop: AbortSignal): Serially {
  return (work) =>
    queue(() => {
      stop.throwIfAborted();
      return orStorageFull(work);
    });
}

/** Now and every hour. @returns a function that ends it */
async function expireUploads({ uploads, quarantine, options }: Parts): Promise<() => void> {
  const { clock, timers, limits, log } = options;
  const expire = async () => {
    await uploads.expire(clock.now() - limits.uploadKeptMs);
    await quarantine.expire(clock.now() - limits.quarantineMs);
  };
  await expire();
  let cancel = () => {};
  const again = () => {
    cancel = timers.after(expiryMs, () => {
      expire().catch((error) => log.error({ err: error }, 'old uploads could not be removed'));
      again();
    });
  };
  again();
  return () => cancel();
}

/**
 * Reads what nobody has asked for yet, one after another, so that damage is known before a request meets it. It rests
 * four times as long as it reads: a fifth of one core at most, while requests are answered.
 */
async function verifyAll({ catalogue: entries, contents, options }: Parts, stop: AbortSignal): Promise<void> {
  const { clock, timers, log } = options;
  for (const digest of entries.digests()) {
    if (stop.aborted) return;
    if (contents.isTrusted(digest)) continue;
    const began = clock.monotonic();
    await contents.verify(digest).catch((error) => {
      if (!stop.aborted) log.error({ err: error, digest }, 'an adapter could not be read');
    });
    await new Promise<void>((resolve) => timers.after(4 * (clock.monotonic() - began), resolve));
  }
}
