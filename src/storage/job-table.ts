// The queries on training jobs. It knows rows and the names of their states; src/jobs knows what a state allows.

import type { Insertable, Updateable } from 'kysely';
import type { Database } from './database.ts';
import type { Page } from './file-table.ts';
import { prune } from './prune.ts';
import { tell } from './replicas/change-table.ts';
import type { JobRow, Tables } from './tables.ts';

export type JobTable = ReturnType<typeof jobTable>;
export type JobChange = Omit<Updateable<Tables['jobs']>, 'id' | 'seq' | 'tenant'>;

export function jobTable(db: Database) {
  return {
    ...changing(db),
    async insert(row: Insertable<Tables['jobs']>): Promise<void> {
      await db.insertInto('jobs').values(row).execute();
    },
    find: (tenant: string, id: string): Promise<JobRow | undefined> =>
      db
        .selectFrom('jobs')
        .selectAll()
        .where((row) => row.and({ tenant, id }))
        .executeTakeFirst(),
    get: (id: string): Promise<JobRow | undefined> =>
      db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirst(),
    /** Jobs, newest first; `tenant` null: of all tenants. */
    list(tenant: string | null, { after, limit }: Omit<Page, 'newestFirst'>): Promise<JobRow[]> {
      let query = db.selectFrom('jobs').selectAll();
      if (tenant !== null) query = query.where('tenant', '=', tenant);
      if (after !== null) {
        let at = db.selectFrom('jobs').select('seq').where('id', '=', after);
        if (tenant !== null) at = at.where('tenant', '=', tenant);
        query = query.where('seq', '<', at);
      }
      return query.orderBy('seq', 'desc').limit(limit).execute();
    },
    /** Jobs of all tenants in these states, in the order in which they began to wait. */
    inStates: (states: readonly string[]): Promise<JobRow[]> =>
      db
        .selectFrom('jobs')
        .selectAll()
        .where('state', 'in', [...states])
        .orderBy('queued_at')
        .orderBy('seq')
        .execute(),
    /** Time of each tenant's last start; tenants without a start are left out. */
    async lastStarts(): Promise<Map<string, number>> {
      const query = db.selectFrom('jobs').select('tenant').groupBy('tenant').where('started_at', 'is not', null);
      const rows = await query.select((row) => row.fn.max<number>('started_at').as('at')).execute();
      return new Map(rows.map(({ tenant, at }) => [tenant, at]));
    },
    async countByState(): Promise<Map<string, number>> {
      const query = db.selectFrom('jobs').select('state').groupBy('state');
      const rows = await query.select((row) => row.fn.countAll<number>().as('count')).execute();
      return new Map(rows.map(({ state, count }) => [state, count]));
    },
    /** A job in one of these states that has the file; undefined where none does. */
    using: (file: string, states: readonly string[]): Promise<Pick<JobRow, 'id'> | undefined> =>
      db
        .selectFrom('jobs')
        .select('id')
        .where((row) => row.or([row('training_file', '=', file), row('validation_file', '=', file)]))
        .where('state', 'in', [...states])
        .limit(1)
        .executeTakeFirst(),
    /** Deletes the oldest of a tenant's jobs in these states with their events, so that `keep` jobs stay. */
    prune: (tenant: string, states: readonly string[], keep: number) => prune(db, 'jobs', tenant, states, keep),
  };
}

function changing(db: Database) {
  return {
    /**
     * Changes a job if it is in one of the states `from`, so that of two changes only the first counts.
     * @param epoch the runner's: nothing changes where another server has taken the job since
     * @returns whether it changed the job
     */
    change(id: string, from: readonly string[], change: JobChange, epoch?: number): Promise<boolean> {
      return db.transaction().execute(async (transaction) => {
        let update = transaction.updateTable('jobs').set(change).where('id', '=', id);
        if (epoch !== undefined) update = update.where('epoch', '=', epoch);
        const { numUpdatedRows } = await update.where('state', 'in', [...from]).executeTakeFirst();
        if (numUpdatedRows === 0n) return false;
        if (change.state !== undefined) await tell(transaction, { kind: 'job', tenant: '', name: id });
        return true;
      });
    },
    /**
     * Makes the job run for `owner`. @returns its row then; null where it has changed or was taken since it was read
     */
    take({ id, state, epoch }: JobRow, owner: string, startedAt: number): Promise<JobRow | null> {
      return db.transaction().execute(async (transaction) => {
        const taken = await transaction
          .updateTable('jobs')
          .set({ state: 'running', owner, epoch: epoch + 1, started_at: startedAt })
          .where((row) => row.and({ id, state, epoch }))
          .returningAll()
          .executeTakeFirst();
        if (taken !== undefined) await tell(transaction, { kind: 'job', tenant: '', name: id });
        return taken ?? null;
      });
    },
  };
}
