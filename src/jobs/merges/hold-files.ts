// Leases the files of a merge's adapters while the merge is wanted: a restarted engine reads them again.

import type { AppliedAdapter } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { AdapterLease, AdapterRegistry } from '../../registry/adapter-registry.ts';
import type { MergedAdapter } from './merge.ts';

export type HeldFiles = { readonly adapters: readonly AppliedAdapter[]; release(): void };

/**
 * Leases all files or none. Throws what `lease` throws, and `adapter_not_found` where a version's content has changed.
 * @param onDeleting called when one of the versions begins to be deleted; the deletion waits for `release`
 */
export async function holdFiles(
  registry: Pick<AdapterRegistry, 'lease'>,
  { tenant, adapters }: { readonly tenant: string; readonly adapters: readonly MergedAdapter[] },
  onDeleting: () => void,
): Promise<HeldFiles> {
  const leases: AdapterLease[] = [];
  const released = new AbortController();
  const release = () => {
    released.abort();
    for (const lease of leases.splice(0)) lease.release();
  };
  try {
    for (const { name, version, digest } of adapters) {
      const lease = await registry.lease(tenant, `${name}@${version}`);
      leases.push(lease);
      if (lease.adapter.digest === digest) continue;
      throw new LorikeetError('adapter_not_found', { message: `'${name}@${version}' is not the content it was.` });
    }
    if (leases.some(({ deleting }) => deleting.aborted)) throw new LorikeetError('adapter_deleting');
  } catch (error) {
    release();
    throw error;
  }
  for (const { deleting } of leases) {
    deleting.addEventListener('abort', onDeleting, { once: true, signal: released.signal });
  }
  return { adapters: leases.map(({ files }, i) => ({ files, scale: adapters[i]!.scale })), release };
}
