// The queries on answers that are kept for clients who send a request twice.

import type { Database } from './database.ts';
import type { KeptAnswerRow } from './tables.ts';

export type KeptAnswerTable = ReturnType<typeof keptAnswerTable>;

type Owned = Pick<KeptAnswerRow, 'tenant' | 'idempotency_key'>;
type Answer = { readonly status: number; readonly headers: string; readonly body: string };

export function keptAnswerTable(db: Database) {
  return {
    /**
     * Inserts an unfinished answer, and deletes those older than `before`. @returns the row that was there already, or
     * null
     */
    begin(
      row: Owned & Pick<KeptAnswerRow, 'request' | 'created_at' | 'owner'>,
      before: number,
    ): Promise<KeptAnswerRow | null> {
      return db.transaction().execute(async (transaction) => {
        await transaction.deleteFrom('kept_answers').where('created_at', '<', before).execute();
        const { tenant, idempotency_key } = row;
        const rest = { status: null, headers: null, body: null };
        const begun = await transaction
          .insertInto('kept_answers')
          .values({ ...row, ...rest })
          .onConflict((conflict) => conflict.columns(['tenant', 'idempotency_key']).doNothing())
          .returning('tenant')
          .executeTakeFirst();
        if (begun !== undefined) return null;
        const there = await transaction
          .selectFrom('kept_answers')
          .selectAll()
          .where((key) => key.and({ tenant, idempotency_key }))
          .executeTakeFirst();
        return there ?? null;
      });
    },
    async finish({ tenant, idempotency_key }: Owned, answer: Answer): Promise<void> {
      const update = db.updateTable('kept_answers').set(answer);
      await update.where((key) => key.and({ tenant, idempotency_key })).execute();
    },
    async forget({ tenant, idempotency_key }: Owned): Promise<void> {
      await db
        .deleteFrom('kept_answers')
        .where((key) => key.and({ tenant, idempotency_key }))
        .execute();
    },
    /** Deletes unfinished answers whose server is not among `living`: nobody finishes them. */
    async forgetUnfinished(living: ReadonlySet<string>): Promise<void> {
      await db
        .deleteFrom('kept_answers')
        .where('status', 'is', null)
        .where((row) => row.or([row('owner', 'is', null), row('owner', 'not in', [...living])]))
        .execute();
    },
  };
}
