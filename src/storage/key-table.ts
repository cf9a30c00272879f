// The queries on keys. It knows rows, not what a key looks like or what a scope allows.

import type { Updateable } from 'kysely';
import type { Database } from './database.ts';
import { tell } from './replicas/change-table.ts';
import type { KeyRow } from './tables.ts';

export type KeyTable = ReturnType<typeof keyTable>;

/** When a key was last used, and from where. */
export type KeyUse = { readonly prefix: string; readonly at: number; readonly ip: string | null };

export type KeyPage = { readonly tenant: string | null; readonly after: string | null; readonly limit: number };

export function keyTable(db: Database) {
  return {
    async insert(row: KeyRow): Promise<void> {
      await db.insertInto('keys').values(row).execute();
    },
    find: (prefix: string): Promise<KeyRow | undefined> =>
      db.selectFrom('keys').selectAll().where('prefix', '=', prefix).executeTakeFirst(),
    list: (): Promise<KeyRow[]> => db.selectFrom('keys').selectAll().orderBy('created_at').orderBy('prefix').execute(),
    /** Keys in the order of their prefixes, after prefix `after`. */
    page({ tenant, after, limit }: KeyPage): Promise<KeyRow[]> {
      let query = db.selectFrom('keys').selectAll();
      if (tenant !== null) query = query.where('tenant', '=', tenant);
      if (after !== null) query = query.where('prefix', '>', after);
      return query.orderBy('prefix').limit(limit).execute();
    },
    async any(): Promise<boolean> {
      return (await db.selectFrom('keys').select('prefix').limit(1).executeTakeFirst()) !== undefined;
    },
    /** Changes a key that is not revoked. @returns the change's number in the feed; null where there is no such key */
    change: (prefix: string, change: Updateable<KeyRow>): Promise<number | null> =>
      db.transaction().execute(async (transaction) => {
        const isThere = await changed(transaction, prefix, change);
        return isThere ? await tell(transaction, keyChange(prefix)) : null;
      }),
    /** Inserts the new key and ends the old one, both or neither. */
    rotate: (old: string, change: Updateable<KeyRow>, row: KeyRow): Promise<number | null> =>
      db.transaction().execute(async (transaction) => {
        if (!(await changed(transaction, old, change))) return null;
        await transaction.insertInto('keys').values(row).execute();
        return await tell(transaction, keyChange(old));
      }),
    /** Stores all uses in one transaction: one flush, however many keys were used. */
    touch(uses: readonly KeyUse[]): Promise<void> {
      return db.transaction().execute(async (transaction) => {
        for (const { prefix, at, ip } of uses.toSorted((a, b) => (a.prefix < b.prefix ? -1 : 1))) {
          const update = transaction.updateTable('keys').set({ last_used_at: at, last_ip: ip });
          await update.where('prefix', '=', prefix).execute();
        }
      });
    },
    async tenants(): Promise<string[]> {
      const rows = await db.selectFrom('keys').select('tenant').distinct().orderBy('tenant').execute();
      return rows.map(({ tenant }) => tenant);
    },
  };
}

const keyChange = (prefix: string) => ({ kind: 'key', tenant: '', name: prefix }) as const;

async function changed(db: Database, prefix: string, change: Updateable<KeyRow>): Promise<boolean> {
  const update = db.updateTable('keys').set(change).where('prefix', '=', prefix);
  const { numUpdatedRows } = await update.where('revoked_at', 'is', null).executeTakeFirst();
  return numUpdatedRows > 0n;
}
