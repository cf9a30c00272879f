// The queries on versions of adapters. It knows rows; what a version means, and who may see it, is the registry's.

import type { Database } from './database.ts';
import type { AdapterRow } from './tables.ts';

export type AdapterTable = ReturnType<typeof adapterTable>;

export function adapterTable(db: Database) {
  return {
    all: (): Promise<AdapterRow[]> =>
      db.selectFrom('adapters').selectAll().orderBy('tenant').orderBy('name').orderBy('version').execute(),
    /**
     * @param training how it was trained, in JSON
     * @returns the number that the version got: one more than any before under this name
     */
    insert: (row: Omit<AdapterRow, 'version'>, training: string | null) => insertVersion(db, row, training),
    async training(tenant: string, name: string, version: number): Promise<string | undefined> {
      const query = db.selectFrom('adapter_trainings').select('record');
      const found = await query.where((row) => row.and({ tenant, name, version })).executeTakeFirst();
      return found?.record;
    },
    /** Of all versions with this content, whoever has them. */
    async setState(digest: string, from: string, to: string): Promise<void> {
      const update = db.updateTable('adapters').set({ state: to });
      await update.where((row) => row.and({ digest, state: from })).execute();
    },
    async beginDeletion(tenant: string, name: string, version: number): Promise<void> {
      const update = db.updateTable('adapters').set({ state: 'deleting' });
      await update.where((row) => row.and({ tenant, name, version })).execute();
    },
    /** All versions of the name, and its aliases, which would else point to versions that go. */
    beginDeletionOfName(tenant: string, name: string): Promise<void> {
      return db.transaction().execute(async (transaction) => {
        await transaction
          .deleteFrom('aliases')
          .where((row) => row.and({ tenant, name }))
          .execute();
        const update = transaction.updateTable('adapters').set({ state: 'deleting' });
        await update.where((row) => row.and({ tenant, name })).execute();
      });
    },
    async delete(tenant: string, name: string, version: number): Promise<void> {
      await db
        .deleteFrom('adapters')
        .where((row) => row.and({ tenant, name, version }))
        .execute();
    },
    /** Names that have a version, in order, after `after`. */
    async names(tenant: string, after: string, limit: number): Promise<string[]> {
      const query = db.selectFrom('adapters').select('name').distinct().where('tenant', '=', tenant);
      const rows = await query.where('name', '>', after).orderBy('name').limit(limit).execute();
      return rows.map(({ name }) => name);
    },
  };
}

function insertVersion(db: Database, row: Omit<AdapterRow, 'version'>, training: string | null): Promise<number> {
  const { tenant, name } = row;
  return db.transaction().execute(async (transaction) => {
    // A write comes first, so that the transaction never has to become a writer half-way, which can fail.
    const { last_version: version } = await transaction
      .insertInto('adapter_names')
      .values({ tenant, name, last_version: 1, last_revision: 0 })
      .onConflict((conflict) =>
        conflict.columns(['tenant', 'name']).doUpdateSet((set) => ({
          last_version: set('adapter_names.last_version', '+', 1),
        })),
      )
      .returning('last_version')
      .executeTakeFirstOrThrow();
    await transaction
      .insertInto('adapters')
      .values({ ...row, version })
      .execute();
    if (training !== null) {
      const record = { tenant, name, version, record: training };
      await transaction.insertInto('adapter_trainings').values(record).execute();
    }
    return version;
  });
}
