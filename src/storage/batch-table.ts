// The queries on batches and on the answers to their lines. It knows rows and the names of their states;
// src/jobs/batches knows what a state allows.

import type { Insertable, Updateable } from 'kysely';
import type { Database } from './database.ts';
import type { Page } from './file-table.ts';
import { prune } from './prune.ts';
import { tell } from './replicas/change-table.ts';
import type { BatchAnswerRow, BatchRow, Tables } from './tables.ts';

export type BatchTable = ReturnType<typeof batchTable>;
export type BatchChange = Omit<Updateable<Tables['batches']>, 'id' | 'seq' | 'tenant'>;

export function batchTable(db: Database) {
  const get = (id: string): Promise<BatchRow | undefined> =>
    db.selectFrom('batches').selectAll().where('id', '=', id).executeTakeFirst();
  return {
    get,
    async insert(row: Insertable<Tables['batches']>): Promise<void> {
      await db.insertInto('batches').values(row).execute();
    },
    async find(tenant: string, id: string): Promise<BatchRow | undefined> {
      const row = await get(id);
      return row?.tenant === tenant ? row : undefined;
    },
    /** A tenant's batches, newest first. */
    list(tenant: string, { after, limit }: Omit<Page, 'newestFirst'>): Promise<BatchRow[]> {
      let query = db.selectFrom('batches').selectAll().where('tenant', '=', tenant);
      if (after !== null) {
        const at = db.selectFrom('batches').select('seq').where('id', '=', after).where('tenant', '=', tenant);
        query = query.where('seq', '<', at);
      }
      return query.orderBy('seq', 'desc').limit(limit).execute();
    },
    /** Batches of all tenants in these states, oldest first. */
    inStates: (states: readonly string[]): Promise<BatchRow[]> =>
      db
        .selectFrom('batches')
        .selectAll()
        .where('state', 'in', [...states])
        .orderBy('seq')
        .execute(),
    /**
     * Changes a batch if it is in one of the states `from`, so that of two changes only the first counts. @returns
     * whether it was.
     */
    change(id: string, from: readonly string[], change: BatchChange): Promise<boolean> {
      return db.transaction().execute(async (transaction) => {
        const update = transaction.updateTable('batches').set(change).where('id', '=', id);
        const { numUpdatedRows } = await update.where('state', 'in', [...from]).executeTakeFirst();
        if (numUpdatedRows === 0n) return false;
        if (change.state !== undefined) await tell(transaction, { kind: 'batch', tenant: '', name: id });
        return true;
      });
    },
    /** Makes `owner` the batch's owner; false where another server has taken the batch since it was read. */
    async take({ id, owner: before }: Pick<BatchRow, 'id' | 'owner'>, owner: string): Promise<boolean> {
      if (before === owner) return true;
      const update = db.updateTable('batches').set({ owner }).where('id', '=', id);
      const { numUpdatedRows } = await update.where('owner', before === null ? 'is' : '=', before).executeTakeFirst();
      return numUpdatedRows > 0n;
    },
    ...answerQueries(db),
    /** A batch in one of these states that reads the file; undefined where none does. */
    using: (file: string, states: readonly string[]): Promise<Pick<BatchRow, 'id'> | undefined> =>
      db
        .selectFrom('batches')
        .select('id')
        .where('input_file', '=', file)
        .where('state', 'in', [...states])
        .limit(1)
        .executeTakeFirst(),
    /** Deletes the oldest of a tenant's batches in these states, so that `keep` stay. */
    prune: (tenant: string, states: readonly string[], keep: number) => prune(db, 'batches', tenant, states, keep),
  };
}

function answerQueries(db: Database) {
  return {
    /** Stores the answer to a line and counts it; an answer that is there already stays as it is. */
    answer: (row: BatchAnswerRow): Promise<void> =>
      db.transaction().execute(async (inside) => {
        const insert = inside
          .insertInto('batch_answers')
          .values(row)
          .onConflict((conflict) => conflict.doNothing());
        const { numInsertedOrUpdatedRows = 0n } = await insert.executeTakeFirst();
        if (numInsertedOrUpdatedRows === 0n) return;
        const column = row.is_error === 1 ? 'failed' : 'completed';
        await inside
          .updateTable('batches')
          .set((batch) => ({ [column]: batch(column, '+', 1) }))
          .where('id', '=', row.batch)
          .execute();
      }),
    async answeredLines(batch: string): Promise<Set<number>> {
      const rows = await db.selectFrom('batch_answers').select('line').where('batch', '=', batch).execute();
      return new Set(rows.map(({ line }) => line));
    },
    /** Answers or errors in the order of their lines, after line `after`. */
    answers: (batch: string, isError: boolean, after: number, limit: number): Promise<BatchAnswerRow[]> =>
      db
        .selectFrom('batch_answers')
        .selectAll()
        .where((row) => row.and({ batch, is_error: isError ? 1 : 0 }))
        .where('line', '>', after)
        .orderBy('line')
        .limit(limit)
        .execute(),
    async forgetAnswers(batch: string): Promise<void> {
      await db.deleteFrom('batch_answers').where('batch', '=', batch).execute();
    },
  };
}
