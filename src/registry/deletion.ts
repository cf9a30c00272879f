// Deletion drains: nobody new gets the version from the first moment on, whoever holds it finishes, and then the bytes
// go, before the row: a crash in between leaves a version that is still being deleted, never bytes that nobody knows.

import { LorikeetError } from '../core/errors.ts';
import type { AdapterRegistry } from './adapter-registry.ts';
import { type Entry, missing, type Named, setState } from './catalogue.ts';
import type { Parts } from './parts.ts';

export function deletion(parts: Parts): Pick<AdapterRegistry, 'delete'> {
  const { adapters, catalogue, contents, blobs, exclusive, stopped } = parts;
  /** Several callers may wait for the same end. */
  const running = new Map<Entry, Promise<void>>();

  const remove = async (entry: Entry): Promise<void> => {
    const { tenant, name, version, digest } = entry.adapter;
    if (catalogue.ofDigest(digest).size === 1) {
      contents.forget(digest);
      await blobs.remove(digest);
    }
    await adapters.delete(tenant, name, version);
    catalogue.remove(entry);
  };

  const drain = (entry: Entry): Promise<void> => {
    const already = running.get(entry);
    if (already !== undefined) return already;
    const end = Promise.race([free(entry), stopped])
      .then(() => exclusive(() => remove(entry)))
      .finally(() => running.delete(entry));
    running.set(entry, end);
    return end;
  };

  return {
    async delete(tenant, name, version) {
      const entries = await exclusive(async () => {
        const named = catalogue.find(tenant, name);
        if (named === undefined) throw missing(name);
        if (version === null) return await beginWhole(named);
        const entry = named.versions.find(({ adapter }) => adapter.version === version);
        if (entry === undefined) throw missing(`${name}@${version}`);
        assertNoAlias(named, name, version);
        await adapters.beginDeletion(tenant, name, version);
        setState(entry, 'deleting');
        return [entry];
      });
      for (const { deleting } of entries) deleting.abort();
      await Promise.all(entries.map(drain));

      async function beginWhole(named: Named): Promise<Entry[]> {
        await adapters.beginDeletionOfName(tenant, name);
        named.aliases.clear();
        for (const entry of named.versions) setState(entry, 'deleting');
        return [...named.versions];
      }
    },
  };
}

/** Resolves when no request holds it. None can come: it is marked before. */
const free = (entry: Entry): Promise<void> =>
  entry.leases === 0
    ? Promise.resolve()
    : new Promise((resolve) => {
        entry.onFree = resolve;
      });

function assertNoAlias({ aliases }: Named, name: string, version: number): void {
  for (const { alias, targets } of aliases.values()) {
    if (targets.every((target) => target.version !== version)) continue;
    const message = `The alias '${name}:${alias}' points to version ${version}. Point it elsewhere first.`;
    throw new LorikeetError('invalid_parameter', { message, param: 'version' });
  }
}
