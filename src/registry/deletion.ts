// Deletes versions. From the first moment on nobody new gets the version, its holders finish, then its bytes are
// removed, and then its row: a crash in between leaves a version that is still being deleted, never bytes without a
// row.

import { LorikeetError } from '../core/errors.ts';
import { adapterTable, type VersionKey } from '../storage/adapter-table.ts';
import type { AliasWithTargets } from '../storage/alias-table.ts';
import { acrossServers, contentKey, type Database } from '../storage/database.ts';
import { tell } from '../storage/replicas/change-table.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { AdapterRegistry } from './adapter-registry.ts';
import { versionId } from './holds.ts';
import { missing } from './named.ts';
import type { NameTables } from './names.ts';
import type { Parts } from './parts.ts';
import { isAdapterName } from './reference.ts';

type Going = VersionKey & Pick<AdapterRow, 'digest'>;

export type Deletion = Pick<AdapterRegistry, 'delete'> & {
  /** Completes a deletion that a crash interrupted, unless it is under way. */
  finish(going: Going): Promise<void>;
};

export function deletion({ names, holds, contents, blobs, exclusive, stopped, changes, options }: Parts): Deletion {
  /** Deletions under way; several callers may wait for the same one. */
  const running = new Map<string, Promise<void>>();

  /**
   * Removes bytes and row. Meanwhile no other server publishes the content or removes the same version; the second to
   * come finds it done.
   * @returns the change's number
   */
  const remove = async (going: Going): Promise<number> => {
    const { tenant, name, digest } = going;
    const work = async (rows: Database): Promise<number> => {
      const adapters = adapterTable(rows);
      const there = await adapters.ofName(tenant, name);
      if (!there.some(({ version, state }) => version === going.version && state === 'deleting')) return 0;
      const isLast = !(await adapters.isShared(going));
      if (isLast) {
        contents.forget(digest);
        await blobs.remove(digest);
      }
      await adapters.delete(going);
      return await tell(rows, { kind: 'adapter', tenant, name, detail: isLast ? { gone: digest } : {} });
    };
    try {
      return await acrossServers(options.database, contentKey(digest), work);
    } finally {
      names.forget(tenant, name);
    }
  };

  const drain = (going: Going, seq: number): Promise<void> => {
    const id = versionId(going);
    const already = running.get(id);
    if (already !== undefined) return already;
    const drained = Promise.all([holds.drain(going), changes.drainedEverywhere(seq)]);
    const end = Promise.race([drained, stopped])
      .then(() => exclusive(() => remove(going)))
      .then((seq) => changes.everywhere(seq))
      .finally(() => running.delete(id));
    running.set(id, end);
    return end;
  };

  return {
    async delete(tenant, name, version) {
      if (!isAdapterName(name)) throw missing(name);
      const { value: going, seq } = await exclusive(() => {
        const work = async (rows: NameTables) => {
          const found = await begin(rows, tenant, name, version);
          await rows.adapters.beginDeletion(tenant, name, version);
          return found;
        };
        return names.change(tenant, name, work, {
          detail: (rows) => ({ deleting: rows.map((row) => row.version) }),
        });
      });
      await Promise.all(going.map((one) => drain(one, seq)));
    },
    async finish(going) {
      // The deletion's own change has at most the newest number.
      if (!running.has(versionId(going))) await drain(going, await changes.newest());
    },
  };
}

/** Checks that the deletion is allowed. @returns the rows to delete */
async function begin({ adapters, aliases }: NameTables, tenant: string, name: string, version: number | null) {
  const rows = await adapters.ofName(tenant, name);
  if (rows.length === 0) throw missing(name);
  if (version === null) {
    // Aliases would point to deleted versions.
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
