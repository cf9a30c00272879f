// The queries on the levels of rate limits' buckets. It knows rows, not what a bucket is for.

import { sql } from 'kysely';
import type { Database } from './database.ts';
import { databaseNow } from './replicas/change-table.ts';
import type { RateLevelRow } from './tables.ts';

export type RateTable = ReturnType<typeof rateTable>;

/** What was left in a bucket at a time in milliseconds of the epoch; below 0 is a debt. */
export type Level = Pick<RateLevelRow, 'id' | 'level' | 'at'>;

export function rateTable(db: Database) {
  return {
    all: (): Promise<Level[]> => db.selectFrom('rate_levels').select(['id', 'level', 'at']).execute(),
    /** Stores all levels in one transaction, ordered by id so that no two of them deadlock. */
    save: (rows: readonly Level[]): Promise<void> =>
      db.transaction().execute(async (transaction) => {
        for (const row of rows.toSorted(byId)) {
          await transaction
            .insertInto('rate_levels')
            .values(row)
            .onConflict((conflict) => conflict.column('id').doUpdateSet({ level: row.level, at: row.at }))
            .execute();
        }
      }),
    /**
     * Changes these rows in one transaction that locks them (PostgreSQL only). A missing row begins with its level in
     * `first`.
     * @returns the number of servers with a lease
     */
    async settle(first: ReadonlyMap<string, number>, change: Change): Promise<number> {
      const ids = [...first.keys()].sort();
      for (;;) {
        const servers = await db.transaction().execute((transaction) => settleAll(transaction, ids, change));
        if (servers !== null) return servers;
        const rows = ids.map((id) => ({ id, level: first.get(id)!, at: databaseNow }));
        const missing = db.insertInto('rate_levels').values(rows);
        await missing.onConflict((conflict) => conflict.doNothing()).execute();
      }
    },
  };
}

type Change = (row: RateLevelRow, now: number) => RateLevelRow;

/** Changes the rows and counts the servers; null where a row is missing. */
async function settleAll(transaction: Database, ids: readonly string[], change: Change): Promise<number | null> {
  const found = await transaction
    .selectFrom('rate_levels')
    .select(['id', 'level', 'at', 'leases', databaseNow.as('now')])
    .select(sql<number>`(select count(*) from replicas where expires_at > ${databaseNow})`.as('servers'))
    .where('id', 'in', [...ids])
    .orderBy('id')
    .forUpdate()
    .execute();
  if (found.length < ids.length) return null;
  const changed = found.map(({ now, servers: _, ...row }) => change(row, now));
  const insert = transaction.insertInto('rate_levels').values(changed);
  await insert
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((row) => ({
        level: row.ref('excluded.level'),
        at: row.ref('excluded.at'),
        leases: row.ref('excluded.leases'),
      })),
    )
    .execute();
  return Math.max(1, found[0]!.servers);
}

const byId = (a: Level, b: Level) => (a.id < b.id ? -1 : 1);
