// The queries on aliases. It knows rows, not how a request is split over an alias's targets.

import type { Database } from './database.ts';
import type { AliasRow, AliasTargetRow } from './tables.ts';

export type AliasTable = ReturnType<typeof aliasTable>;

type Target = Pick<AliasTargetRow, 'version' | 'weight'>;

export type AliasWithTargets = AliasRow & { readonly targets: readonly Target[] };

/** @param db `set` needs a transaction. */
export function aliasTable(db: Database) {
  return {
    /** Aliases of these names, ordered by name and alias; the targets of each are ordered by version. */
    async ofNames(tenant: string, names: readonly string[]): Promise<AliasWithTargets[]> {
      const rows = await db
        .selectFrom('aliases')
        .innerJoin('alias_targets as to', (join) =>
          join
            .onRef('to.tenant', '=', 'aliases.tenant')
            .onRef('to.name', '=', 'aliases.name')
            .onRef('to.alias', '=', 'aliases.alias'),
        )
        .selectAll('aliases')
        .select(['to.version', 'to.weight'])
        .where('aliases.tenant', '=', tenant)
        .where('aliases.name', 'in', names)
        .orderBy('aliases.name')
        .orderBy('aliases.alias')
        .orderBy('to.version')
        .execute();
      const grouped = Map.groupBy(rows, ({ name, alias }) => `${name}:${alias}`);
      return [...grouped.values()].map((same) => {
        const { version: _, weight: __, ...alias } = same[0]!;
        return { ...alias, targets: same.map(({ version, weight }) => ({ version, weight })) };
      });
    },
    /** Makes an alias, or changes the one that is there. @returns its new revision. */
    async set(change: Omit<AliasRow, 'revision'>, targets: readonly Target[]): Promise<number> {
      const { tenant, name, alias } = change;
      const { last_revision: revision } = await db
        .updateTable('adapter_names')
        .set((set) => ({ last_revision: set('last_revision', '+', 1) }))
        .where('tenant', '=', tenant)
        .where('name', '=', name)
        .returning('last_revision')
        .executeTakeFirstOrThrow();
      await db
        .deleteFrom('aliases')
        .where((row) => row.and({ tenant, name, alias }))
        .execute();
      await db
        .insertInto('aliases')
        .values({ ...change, revision })
        .execute();
      const rows = targets.map(({ version, weight }) => ({ tenant, name, alias, version, weight }));
      await db.insertInto('alias_targets').values(rows).execute();
      return revision;
    },
    async delete(tenant: string, name: string, alias: string): Promise<void> {
      await db
        .deleteFrom('aliases')
        .where((row) => row.and({ tenant, name, alias }))
        .execute();
    },
    async deleteAll(tenant: string, name: string): Promise<void> {
      await db
        .deleteFrom('aliases')
        .where((row) => row.and({ tenant, name }))
        .execute();
    },
  };
}
