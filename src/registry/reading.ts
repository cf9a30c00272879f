// What there is, and a hold on it for one request. `lease` is on the way of every request: it asks memory alone, except
// for the first time after a start, when the content is read and checked.

import { LorikeetError } from '../core/errors.ts';
import type { AdapterLease, AdapterRegistry, AliasTarget, TrainingRecord } from './adapter-registry.ts';
import { draw, type Entry, heaviest, missing } from './catalogue.ts';
import type { Parts } from './parts.ts';

export type Reading = Pick<AdapterRegistry, 'list' | 'listAll' | 'versions' | 'find' | 'training' | 'lease'>;

export function reading({ adapters, blobs, catalogue, contents, options }: Parts): Reading {
  const { base, random } = options;
  const drawn = (targets: readonly AliasTarget[]) => draw(targets, random);
  return {
    async list(tenant, { after, limit }) {
      const names = await adapters.names(tenant, after ?? '', limit);
      // A name may have gone while the database was asked.
      const named = names.map((name) => catalogue.find(tenant, name)).filter((found) => found !== undefined);
      return named.map((found) => catalogue.newest(found).adapter);
    },
    listAll({ tenant: only, after, limit }) {
      const found = [];
      for (const { tenant, name, named } of catalogue.all()) {
        if (only !== null && tenant !== only) continue;
        const isBefore = after !== null && (tenant === after.tenant ? name <= after.name : tenant < after.tenant);
        if (isBefore) continue;
        found.push(catalogue.newest(named).adapter);
        if (found.length === limit) break;
      }
      return found;
    },
    async versions(tenant, name) {
      const found = catalogue.find(tenant, name);
      if (found === undefined) throw missing(name);
      return found.versions.map(({ adapter }) => adapter).reverse();
    },
    async find(tenant, reference) {
      return catalogue.resolve(tenant, reference, heaviest).adapter;
    },
    async training({ tenant, name, version }) {
      const record = await adapters.training(tenant, name, version);
      return record === undefined ? null : (JSON.parse(record) as TrainingRecord);
    },
    async lease(tenant, reference) {
      const entry = catalogue.resolve(tenant, reference, drawn);
      assertServed(entry, reference);
      const { baseDigest, digest } = entry.adapter;
      if (baseDigest !== base.digest) throw otherBase(entry, base.name);
      const lease = hold(entry);
      blobs.use(digest);
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
  };
}

function hold(entry: Entry): AdapterLease {
  let isHeld = true;
  entry.leases++;
  return {
    adapter: entry.adapter,
    files: entry.files,
    deleting: entry.deleting.signal,
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
