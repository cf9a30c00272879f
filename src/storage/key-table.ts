// The queries on keys. It knows rows, not what a key looks like or what a scope allows.

import type { Database } from './database.ts';
import type { KeyRow } from './tables.ts';

export type KeyTable = ReturnType<typeof keyTable>;

export function keyTable(db: Database) {
  return {
    async insert(row: KeyRow): Promise<void> {
      await db.insertInto('keys').values(row).execute();
    },
    find: (prefix: string): Promise<KeyRow | undefined> =>
      db.selectFrom('keys').selectAll().where('prefix', '=', prefix).executeTakeFirst(),
    list: (): Promise<KeyRow[]> => db.selectFrom('keys').selectAll().orderBy('created_at').orderBy('prefix').execute(),
    async any(): Promise<boolean> {
      return (await db.selectFrom('keys').select('prefix').limit(1).executeTakeFirst()) !== undefined;
    },
    /** @returns false where no such key is, or it was revoked before. */
    async revoke(prefix: string, at: number): Promise<boolean> {
      const update = db.updateTable('keys').set({ revoked_at: at });
      const { numUpdatedRows } = await update
        .where('prefix', '=', prefix)
        .where('revoked_at', 'is', null)
        .executeTakeFirst();
      return numUpdatedRows > 0n;
    },
    async touch(prefix: string, at: number): Promise<void> {
      await db.updateTable('keys').set({ last_used_at: at }).where('prefix', '=', prefix).execute();
    },
  };
}
