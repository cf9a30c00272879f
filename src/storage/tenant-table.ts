// The queries on what was decided of tenants. A tenant without a row has the server's own limits.

import type { Database } from './database.ts';
import type { TenantRow } from './tables.ts';

export type TenantTable = ReturnType<typeof tenantTable>;

export function tenantTable(db: Database) {
  return {
    all: (): Promise<TenantRow[]> => db.selectFrom('tenants').selectAll().orderBy('name').execute(),
    /** Makes the row, or replaces the one that is there. */
    async save(row: TenantRow): Promise<void> {
      const { name: _, created_at: __, ...rest } = row;
      const insert = db.insertInto('tenants').values(row);
      await insert.onConflict((conflict) => conflict.column('name').doUpdateSet(rest)).execute();
    },
  };
}
