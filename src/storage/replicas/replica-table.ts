// The queries on servers and their leases. All times are the database's, so that clocks of two machines are never
// compared.

import { sql } from 'kysely';
import type { Database } from '../database.ts';
import type { ReplicaRow } from '../tables.ts';
import { databaseNow } from './change-table.ts';

export type ReplicaTable = ReturnType<typeof replicaTable>;

export type Renewal = Pick<ReplicaRow, 'id' | 'seen' | 'drained' | 'status'>;

export function replicaTable(db: Database) {
  const isLive = sql<boolean>`expires_at > ${databaseNow}`;
  return {
    /** Makes the row or renews its lease. @returns the database's time, and whether the row is new. */
    async renew(renewal: Renewal, leaseMs: number): Promise<{ now: number; isNew: boolean }> {
      const { rows } = await sql<{ now: number; is_new: boolean }>`
        insert into replicas (id, started_at, expires_at, seen, drained, status)
        values (${renewal.id}, ${databaseNow}, ${databaseNow} + ${leaseMs}, ${renewal.seen}, ${renewal.drained},
          ${renewal.status})
        on conflict (id) do update set expires_at = excluded.expires_at, seen = excluded.seen,
          drained = excluded.drained, status = excluded.status
        returning ${databaseNow} as now, xmax = 0 as is_new`.execute(db);
      const { now, is_new: isNew } = rows[0]!;
      return { now, isNew };
    },
    /** Number of other servers with a lease whose `column` is below `seq`. */
    async behind(id: string, column: 'seen' | 'drained', seq: number): Promise<number> {
      const { count } = await db
        .selectFrom('replicas')
        .select((row) => row.fn.countAll<number>().as('count'))
        .where('id', '<>', id)
        .where(column, '<', seq)
        .where(isLive)
        .executeTakeFirstOrThrow();
      return count;
    },
    async all(): Promise<(ReplicaRow & { readonly lease_ms: number; readonly newest: number })[]> {
      return await db
        .selectFrom('replicas')
        .selectAll()
        .select([
          sql<number>`expires_at - ${databaseNow}`.as('lease_ms'),
          sql<number>`(select coalesce(max(seq), 0) from changes)`.as('newest'),
        ])
        .orderBy('started_at')
        .orderBy('id')
        .execute();
    },
    /** Ids of servers whose lease runs, or ended less than `graceMs` ago. */
    async living(graceMs: number): Promise<Set<string>> {
      const found = db.selectFrom('replicas').select('id');
      const rows = await found.where(sql<boolean>`expires_at > ${databaseNow} - ${graceMs}`).execute();
      return new Set(rows.map(({ id }) => id));
    },
    async remove(id: string): Promise<void> {
      await db.deleteFrom('replicas').where('id', '=', id).execute();
    },
    /** Deletes servers whose lease ended more than `olderThanMs` ago. */
    async prune(olderThanMs: number): Promise<void> {
      await db.deleteFrom('replicas').where(sql<boolean>`expires_at < ${databaseNow} - ${olderThanMs}`).execute();
    },
  };
}
