// The feed of changes. They are numbered in the order of their commits, so that a reader who has read up to a number
// has missed none before it.

import { sql } from 'kysely';
import { type Database, isPostgres, lockKey } from '../database.ts';
import type { ChangeRow } from '../tables.ts';
import type { Change, ChangeDetail } from './changes.ts';

/** The channel of notifications: a hint that there is something to read, never the change itself. */
export const channel = 'lorikeet_changes';

/**
 * Adds a change to the feed, as the last statement of the change's own transaction: all other writers of the feed wait
 * for its end. A database of one server alone has no feed.
 * @returns the change's number; 0 without a feed
 */
export async function tell(transaction: Database, { kind, tenant, name, detail }: Change): Promise<number> {
  if (!isPostgres(transaction)) return 0;
  await lockKey(transaction, 'changes');
  const { seq } = await transaction
    .insertInto('changes')
    .values({ kind, tenant, name, detail: detail === undefined ? null : JSON.stringify(detail), at: databaseNow })
    .returning('seq')
    .executeTakeFirstOrThrow();
  await sql`select pg_notify(${channel}, '')`.execute(transaction);
  return seq;
}

/** Milliseconds since the epoch by the database's clock, which all servers share. Only for PostgreSQL. */
export const databaseNow = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

export function changeTable(db: Database) {
  return {
    /** Changes after number `seq`, oldest first. */
    after: (seq: number, limit: number): Promise<ChangeRow[]> =>
      db.selectFrom('changes').selectAll().where('seq', '>', seq).orderBy('seq').limit(limit).execute(),
    async newest(): Promise<number> {
      const { seq } = await db
        .selectFrom('changes')
        .select((row) => row.fn.max<number | null>('seq').as('seq'))
        .executeTakeFirstOrThrow();
      return seq ?? 0;
    },
    /** Deletes changes older than `olderThanMs`. The newest stays: it says how far the numbers have come. */
    async prune(olderThanMs: number): Promise<void> {
      await db
        .deleteFrom('changes')
        .where(sql<boolean>`at < ${databaseNow} - ${olderThanMs}`)
        .where(sql<boolean>`seq < (select max(seq) from changes)`)
        .execute();
    },
  };
}

export function changeOf({ kind, tenant, name, detail }: ChangeRow): Change {
  const about = { kind: kind as Change['kind'], tenant, name };
  return detail === null ? about : { ...about, detail: JSON.parse(detail) as ChangeDetail };
}
