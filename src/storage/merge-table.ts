// The queries on merges. It knows rows, not which merges an engine has.

import { type Database, exclusively } from './database.ts';
import { tell } from './replicas/change-table.ts';
import type { MergeRow } from './tables.ts';

export type MergeTable = ReturnType<typeof mergeTable>;

export function mergeTable(db: Database) {
  return {
    /** All merges, oldest first. */
    all: (): Promise<MergeRow[]> => db.selectFrom('merges').selectAll().orderBy('created_at').execute(),
    /**
     * Makes the row, or replaces the one of the same tenant and weights.
     * @param assertRoom gets the tenant's other merges and throws where they are too many; no other server saves one
     * meanwhile
     */
    save(row: MergeRow, assertRoom: (others: readonly MergeRow[]) => void = () => {}): Promise<void> {
      const { tenant, merge_key, ...rest } = row;
      return exclusively(db, `merges of ${tenant}`, async (transaction) => {
        const all = transaction.selectFrom('merges').selectAll().where('tenant', '=', tenant);
        assertRoom(await all.where('merge_key', '<>', merge_key).execute());
        await transaction
          .insertInto('merges')
          .values(row)
          .onConflict((conflict) => conflict.columns(['tenant', 'merge_key']).doUpdateSet(rest))
          .execute();
        await tell(transaction, { kind: 'merge', tenant, name: merge_key });
      });
    },
    delete(tenant: string, merge_key: string): Promise<void> {
      return db.transaction().execute(async (transaction) => {
        const gone = await transaction
          .deleteFrom('merges')
          .where((row) => row.and({ tenant, merge_key }))
          .executeTakeFirst();
        if (gone.numDeletedRows > 0n) await tell(transaction, { kind: 'merge', tenant, name: merge_key });
      });
    },
    find: (tenant: string, merge_key: string): Promise<MergeRow | undefined> =>
      db
        .selectFrom('merges')
        .selectAll()
        .where((row) => row.and({ tenant, merge_key }))
        .executeTakeFirst(),
  };
}
