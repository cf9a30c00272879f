// The queries on usage. It knows sums, not what is counted.

import type { Database } from './database.ts';
import type { UsageRow } from './tables.ts';

export type UsageTable = ReturnType<typeof usageTable>;

/**
 * Rows of the minutes [`from`, `to`) since the epoch, after the row that `after` names, by minute, adapter and tenant.
 */
export type UsagePage = {
  readonly from: number;
  readonly to: number;
  readonly after: { readonly minute: number; readonly adapter: string; readonly tenant: string } | null;
  readonly limit: number;
};

export function usageTable(db: Database) {
  return {
    /** Adds to the stored counters in one transaction, ordered by key so that no two of them deadlock. */
    add: (rows: readonly UsageRow[]): Promise<void> =>
      db.transaction().execute(async (transaction) => {
        for (const row of rows.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))) {
          await transaction
            .insertInto('usage')
            .values(row)
            .onConflict((conflict) =>
              conflict.columns(['tenant', 'minute', 'adapter']).doUpdateSet((is) => ({
                requests: is('usage.requests', '+', row.requests),
                prompt_tokens: is('usage.prompt_tokens', '+', row.prompt_tokens),
                cached_tokens: is('usage.cached_tokens', '+', row.cached_tokens),
                completion_tokens: is('usage.completion_tokens', '+', row.completion_tokens),
                trained_tokens: is('usage.trained_tokens', '+', row.trained_tokens),
              })),
            )
            .execute();
        }
      }),
    /** Usage of one tenant; null: of all. */
    list(tenant: string | null, { from, to, after, limit }: UsagePage): Promise<UsageRow[]> {
      let query = db.selectFrom('usage').selectAll().where('minute', '>=', from).where('minute', '<', to);
      if (tenant !== null) query = query.where('tenant', '=', tenant);
      if (after !== null) {
        query = query.where(({ eb, refTuple, tuple }) =>
          eb(refTuple('minute', 'adapter', 'tenant'), '>', tuple(after.minute, after.adapter, after.tenant)),
        );
      }
      return query.orderBy('minute').orderBy('adapter').orderBy('tenant').limit(limit).execute();
    },
    async trainedSince(tenant: string, minute: number): Promise<number> {
      const query = db.selectFrom('usage').where('tenant', '=', tenant).where('minute', '>=', minute);
      const { sum } = await query
        .select((row) => row.fn.sum<number | null>('trained_tokens').as('sum'))
        .executeTakeFirstOrThrow();
      return sum ?? 0;
    },
  };
}

const keyOf = ({ tenant, minute, adapter }: UsageRow): string => `${tenant} ${minute} ${adapter}`;
