// The queries on how full the buckets of rate limits are. It knows rows, not what a bucket is for.

import type { Database } from './database.ts';
import type { RateLevelRow } from './tables.ts';

export type RateTable = ReturnType<typeof rateTable>;

export function rateTable(db: Database) {
  return {
    all: (): Promise<RateLevelRow[]> => db.selectFrom('rate_levels').selectAll().execute(),
    /** In one transaction, and in one order. */
    save: (rows: readonly RateLevelRow[]): Promise<void> =>
      db.transaction().execute(async (transaction) => {
        for (const row of rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
          await transaction
            .insertInto('rate_levels')
            .values(row)
            .onConflict((conflict) => conflict.column('id').doUpdateSet({ level: row.level, at: row.at }))
            .execute();
        }
      }),
  };
}
