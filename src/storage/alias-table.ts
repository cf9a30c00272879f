// The queries on aliases. It knows rows, not how a request is split over an alias's targets.

import type { Database } from './database.ts';
import type { AliasRow, AliasTargetRow } from './tables.ts';

export type AliasTable = ReturnType<typeof aliasTable>;

type Target = Pick<AliasTargetRow, 'version' | 'weight'>;

export function aliasTable(db: Database) {
  return {
    async all(): Promise<(AliasRow & { targets: Target[] })[]> {
      const targets = await db.selectFrom('alias_targets').selectAll().orderBy('version').execute();
      const key = ({ tenant, name, alias }: { tenant: string; name: string; alias: string }) =>
        JSON.stringify([tenant, name, alias]);
      const grouped = Map.groupBy(targets, key);
      const rows = await db.selectFrom('aliases').selectAll().execute();
      const targetsOf = (row: AliasRow) => grouped.get(key(row)) ?? [];
      return rows.map((row) => ({
        ...row,
        targets: targetsOf(row).map(({ version, weight }) => ({ version, weight })),
      }));
    },
    /** Makes or changes one. @returns its new revision. */
    set(change: Omit<AliasRow, 'revision'>, targets: readonly Target[]): Promise<number> {
      const { tenant, name, alias } = change;
      return db.transaction().execute(async (transaction) => {
        const { last_revision: revision } = await transaction
          .updateTable('adapter_names')
          .set((set) => ({ last_revision: set('last_revision', '+', 1) }))
          .where('tenant', '=', tenant)
          .where('name', '=', name)
          .returning('last_revision')
          .executeTakeFirstOrThrow();
        await transaction
          .deleteFrom('aliases')
          .where((row) => row.and({ tenant, name, alias }))
          .execute();
        await transaction
          .insertInto('aliases')
          .values({ ...change, revision })
          .execute();
        const rows = targets.map(({ version, weight }) => ({ tenant, name, alias, version, weight }));
        await transaction.insertInto('alias_targets').values(rows).execute();
        return revision;
      });
    },
    async delete(tenant: string, name: string, alias: string): Promise<void> {
      await db
        .deleteFrom('aliases')
        .where((row) => row.and({ tenant, name, alias }))
        .execute();
    },
  };
}
