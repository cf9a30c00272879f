// The feed of changes: numbered in the order in which they were committed, so that who has read up to a number has
// missed none before it.

import { sql } from 'kysely';
import { type Database, isPostgres, lockKey } from '../database.ts';
import type { ChangeRow } from '../tables.ts';
import type { Change, ChangeDetail } from './changes.ts';

/** What servers listen to: a hint that there is something to read, never the change itself. */
export const channel = 'lorikeet_changes';

/**
 * Within the transaction of the change itself, as the last thing there: all others wait for its end to tell theirs.
 * A database that one server has alone keeps no feed.
 * @returns its number
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

/** Milliseconds of the database's own clock, which is everybody's. PostgreSQL alone is asked for it. */
export const databaseNow = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

export function changeTable(db: Database) {
  return {
    /** Oldest first. */
    after: (seq: number, limit: number): Promise<ChangeRow[]> =>
      db.selectFrom('changes').selectAll().where('seq', '>', seq).orderBy('seq').limit(limit).execute(),
    async newest(): Promise<number> {
      const { seq } = await db
        .selectFrom('changes')
        .select((row) => row.fn.max<number | null>('seq').as('seq'))
        .executeTakeFirstOrThrow();
      return seq ?? 0;
    },
    /** Those that are so old that nobody asks for them. The newest stays: it says how far numbers have come. */
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
