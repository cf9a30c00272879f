// The registry over a database and a folder: versions, what a reference means, who holds what. This file wires the
// parts and answers the reading questions; uploads, aliases and deletion have files of their own.

import { LorikeetError } from '../core/errors.ts';
import { adapterTable } from '../storage/adapter-table.ts';
import { aliasTable } from '../storage/alias-table.ts';
import { blobFolder } from '../storage/blob-folder.ts';
import { orStorageFull } from '../storage/storage-full.ts';
import { uploadFolder } from '../storage/upload-folder.ts';
import type { AdapterLease, AdapterRegistry, AliasTarget } from './adapter-registry.ts';
import { aliases } from './aliases.ts';
import { catalogue, draw, type Entry, heaviest, missing } from './catalogue.ts';
import { contents } from './contents.ts';
import { deletion } from './deletion.ts';
import type { RegistryOptions } from './options.ts';
import type { Parts } from './parts.ts';
import { reconcile } from './reconcile.ts';
import { resumableUploads } from './resumable-uploads.ts';
import { type Serially, serially } from './serially.ts';
import { stagedAdapter } from './staged-adapter.ts';
import { fromRow } from './version-row.ts';

/** How often uploads that nobody finished are looked for. */
const expiryMs = 60 * 60 * 1000;

/** Brings the folder and the database into agreement first. Throws `storage_full`. */
export async function openAdapterRegistry(options: RegistryOptions): Promise<AdapterRegistry> {
  const end = new AbortController();
  const parts = await orStorageFull(() => openParts(options, end.signal));
  const stopExpiry = await expireUploads(parts);
  void verifyAll(parts, end.signal);
  return {
    ...reading(parts),
    ...resumableUploads(parts),
    ...aliases(parts),
    ...deletion(parts),
    async stage() {
      const release = parts.beginUpload();
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
  const blobs = blobFolder(folder, files, options.newId);
  const entries = catalogue(base.digest);
  for (const row of await reconcile({ adapters, blobs, log })) {
    const adapter = fromRow(row);
    entries.add({ adapter, files: blobs.filesOf(row.digest), baseName: row.base_name, leases: 0, onFree: null });
  }
  for (const { tenant, name, alias, targets, revision, updated_at: updatedAt } of await aliasRows.all()) {
    entries.find(tenant, name)?.aliases.set(alias, { name, alias, targets, revision, updatedAt });
  }
  const exclusive = untilStopped(serially(), stop);
  const stopped = new Promise<never>((_, reject) => {
    stop.addEventListener('abort', () => reject(stop.reason), { once: true });
  });
  stopped.catch(() => {});
  return {
    ...{ options, adapters, aliases: aliasRows, blobs, exclusive, stopped, catalogue: entries },
    uploads: uploadFolder(folder, files),
    contents: contents({ adapters, blobs, catalogue: entries, exclusive, log, stop }),
    beginUpload: uploadPlaces(options.limits.uploads),
  };
}

function reading({ adapters, catalogue: entries, contents, options }: Parts) {
  const { base, random } = options;
  const drawn = (targets: readonly AliasTarget[]) => draw(targets, random);
  return {
    async list(tenant, { after, limit }) {
      const names = await adapters.names(tenant, after ?? '', limit);
      // A name may have gone while the database was asked.
      const named = names.map((name) => entries.find(tenant, name)).filter((found) => found !== undefined);
      return named.map((found) => entries.newest(found).adapter);
    },
    async versions(tenant, name) {
      const found = entries.find(tenant, name);
      if (found === undefined) throw missing(name);
      return found.versions.map(({ adapter }) => adapter).reverse();
    },
    async find(tenant, reference) {
      return entries.resolve(tenant, reference, heaviest).adapter;
    },
    async lease(tenant, reference) {
      const entry = entries.resolve(tenant, reference, drawn);
      assertServed(entry, reference);
      const { baseDigest, digest } = entry.adapter;
      if (baseDigest !== base.digest) throw otherBase(entry, base.name);
      const lease = hold(entry);
      if (contents.isTrusted(digest)) return lease;
      try {
        await contents.verify(digest);
        assertServed(entry, reference);
        return lease;
      } catch (error) {
        lease.release();
        throw error;
      }
    },
  } satisfies Partial<AdapterRegistry>;
}

function hold(entry: Entry): AdapterLease {
  let isHeld = true;
  entry.leases++;
  return {
    adapter: entry.adapter,
    files: entry.files,
    release() {
      if (!isHeld) return;
      isHeld = false;
      entry.leases--;
      if (entry.leases === 0) entry.onFree?.();
    },
  };
}

function assertServed({ adapter }: Entry, reference: string): void {
  if (adapter.state === 'ready') return;
  const code = adapter.state === 'corrupt' ? 'adapter_corrupt' : 'adapter_deleting';
  const what = adapter.state === 'corrupt' ? 'is damaged and is not served. Upload it again' : 'is being deleted';
  throw new LorikeetError(code, { message: `The adapter '${reference}' ${what}.` });
}

/** Listed all the same: it is served again when its base model is. */
function otherBase({ adapter, baseName }: Entry, runs: string): LorikeetError {
  const { name, version, baseDigest } = adapter;
  const made = `was made for the base model ${baseName} (${baseDigest.slice(0, 19)})`;
  return new LorikeetError('adapter_unsupported', {
    message: `'${name}@${version}' ${made}; this server runs ${runs}.`,
  });
}

function untilStopped(queue: Serially, stop: AbortSignal): Serially {
  return (work) =>
    queue(() => {
      stop.throwIfAborted();
      return orStorageFull(work);
    });
}

function uploadPlaces(count: number): () => () => void {
  let taken = 0;
  return () => {
    if (taken >= count) throw new LorikeetError('too_many_uploads');
    taken++;
    let isTaken = true;
    return () => {
      if (isTaken) taken--;
      isTaken = false;
    };
  };
}

/** Now and every hour. @returns a function that ends it */
async function expireUploads({ uploads, options }: Parts): Promise<() => void> {
  const { clock, timers, limits, log } = options;
  const expire = () => uploads.expire(clock.now() - limits.uploadKeptMs);
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

/** Reads what nobody has asked for yet, one after another, so that damage is known before a request meets it. */
async function verifyAll({ catalogue: entries, contents, options }: Parts, stop: AbortSignal): Promise<void> {
  for (const digest of entries.digests()) {
    if (stop.aborted) return;
    if (contents.isTrusted(digest)) continue;
    await contents.verify(digest).catch((error) => {
      if (!stop.aborted) options.log.error({ err: error, digest }, 'an adapter could not be read');
    });
  }
}
