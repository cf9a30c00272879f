// The queries on merges. It knows rows, not which of them an engine has.

import type { Database } from './database.ts';
import type { MergeRow } from './tables.ts';

export type MergeTable = ReturnType<typeof mergeTable>;

export function mergeTable(db: Database) {
  return {
    /** Oldest first. */
    all: (): Promise<MergeRow[]> => db.selectFrom('merges').selectAll().orderBy('created_at').execute(),
    /** Makes the row, or replaces the one of the same tenant and weights. */
    async save(row: MergeRow): Promise<void> {
      const { tenant, merge_key, ...rest } = row;
      await db
        .insertInto('merges')
        .values(row)
        .onConflict((conflict) => conflict.columns(['tenant', 'merge_key']).doUpdateSet(rest))
        .execute();
    },
    async delete(tenant: string, merge_key: string): Promise<void> {
      await db
        .deleteFrom('merges')
        .where((row) => row.and({ tenant, merge_key }))
        .execute();
    },
  };
}
