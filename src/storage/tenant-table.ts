// The queries on operators' settings of tenants. A tenant without a row has the server's own limits.

import { type Database, exclusively } from './database.ts';
import { tell } from './replicas/change-table.ts';
import type { TenantRow } from './tables.ts';

export type TenantTable = ReturnType<typeof tenantTable>;

export function tenantTable(db: Database) {
  return {
    all: (): Promise<TenantRow[]> => db.selectFrom('tenants').selectAll().orderBy('name').execute(),
    find: (name: string): Promise<TenantRow | undefined> => find(db, name),
    /**
     * Makes or replaces the tenant's row; no other server changes it meanwhile.
     * @returns the row, and the change's number in the feed
     */
    change: (name: string, make: (before: TenantRow | undefined) => TenantRow) =>
      exclusively(db, `tenant ${name}`, async (transaction) => {
        const row = make(await find(transaction, name));
        const { name: _, created_at: __, ...rest } = row;
        const insert = transaction.insertInto('tenants').values(row);
        await insert.onConflict((conflict) => conflict.column('name').doUpdateSet(rest)).execute();
        return { row, seq: await tell(transaction, { kind: 'tenant', tenant: name, name }) };
      }),
  };
}

const find = (db: Database, name: string): Promise<TenantRow | undefined> =>
  db.selectFrom('tenants').selectAll().where('name', '=', name).executeTakeFirst();
