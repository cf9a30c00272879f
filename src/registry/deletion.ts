// Deletion drains: nobody new gets the version from the first moment on, whoever holds it finishes, and then the bytes
// go, before the row: a crash in between leaves a version that is still being deleted, never bytes that nobody knows.

import { LorikeetError } from '../core/errors.ts';
import type { VersionKey } from '../storage/adapter-table.ts';
import type { AliasWithTargets } from '../storage/alias-table.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { AdapterRegistry } from './adapter-registry.ts';
import { versionId } from './holds.ts';
import { missing } from './named.ts';
import type { NameTables } from './names.ts';
import type { Parts } from './parts.ts';
import { isAdapterName } from './reference.ts';

type Going = VersionKey & Pick<AdapterRow, 'digest'>;

export type Deletion = Pick<AdapterRegistry, 'delete'> & {
  /** Goes on with one that the end of a process cut short, unless that is under way. */
  finish(going: Going): Promise<void>;
};

export function deletion({ names, holds, contents, blobs, exclusive, stopped }: Parts): Deletion {
  /** Several callers may wait for the same end. */
  const running = new Map<string, Promise<void>>();

  const remove = async (going: Going): Promise<void> => {
    const { tenant, name, digest } = going;
    try {
      if (!(await names.adapters.isShared(going))) {
        contents.forget(digest);
        await blobs.remove(digest);
      }
      await names.adapters.delete(going);
    } finally {
      names.forget(tenant, name);
    }
  };

  const drain = (going: Going): Promise<void> => {
    const id = versionId(going);
    const already = running.get(id);
    if (already !== undefined) return already;
    const end = Promise.race([holds.drain(going), stopped])
      .then(() => exclusive(() => remove(going)))
      .finally(() => running.delete(id));
    running.set(id, end);
    return end;
  };

  return {
    async delete(tenant, name, version) {
      if (!isAdapterName(name)) throw missing(name);
      const going = await exclusive(() =>
        names.change(tenant, name, async (rows) => {
          const found = await begin(rows, tenant, name, version);
          await rows.adapters.beginDeletion(tenant, name, version);
          return found;
        }),
      );
      await Promise.all(going.map(drain));
    },
    finish: (going) => (running.has(versionId(going)) ? Promise.resolve() : drain(going)),
  };
}

/** @returns what goes */
async function begin({ adapters, aliases }: NameTables, tenant: string, name: string, version: number | null) {
  const rows = await adapters.ofName(tenant, name);
  if (rows.length === 0) throw missing(name);
  if (version === null) {
    // They would else point to versions that go.
    await aliases.deleteAll(tenant, name);
    return rows;
  }
  const found = rows.filter((row) => row.version === version);
  if (found.length === 0) throw missing(`${name}@${version}`);
  assertNoAlias(await aliases.ofNames(tenant, [name]), name, version);
  return found;
}

function assertNoAlias(aliases: readonly AliasWithTargets[], name: string, version: number): void {
  for (const { alias, targets } of aliases) {
    if (targets.every((target) => target.version !== version)) continue;
    const message = `The alias '${name}:${alias}' points to version ${version}. Point it elsewhere first.`;
    throw new LorikeetError('invalid_parameter', { message, param: 'version' });
  }
}
