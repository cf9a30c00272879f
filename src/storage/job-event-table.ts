// The queries on events and checkpoints of training jobs.

import type { Database } from './database.ts';
import type { JobCheckpointRow, JobEventRow } from './tables.ts';

export type JobEventTable = ReturnType<typeof jobEventTable>;

export type NewJobEvent = Omit<JobEventRow, 'seq'>;

export function jobEventTable(db: Database) {
  const ofJob = (job: string) => db.selectFrom('job_events').selectAll().where('job', '=', job);
  return {
    /**
     * Appends all events or none, together with the job's progress, and numbers them in order.
     * @param epoch the runner's: nothing is written where another server has taken the job since; null: not checked
     */
    append(
      job: string,
      events: readonly NewJobEvent[],
      progress: string | null,
      epoch: number | null = null,
    ): Promise<void> {
      return db.transaction().execute(async (transaction) => {
        // A write comes first, so that the transaction never has to become a writer half-way, which can fail.
        let update = transaction
          .updateTable('jobs')
          .set((set) => ({ last_event: set('last_event', '+', events.length) }))
          .where('id', '=', job);
        if (epoch !== null) update = update.where('epoch', '=', epoch);
        const updated = await update.returning('last_event').executeTakeFirst();
        if (updated === undefined) return;
        const { last_event: last } = updated;
        if (progress !== null) await transaction.updateTable('jobs').set({ progress }).where('id', '=', job).execute();
        if (events.length === 0) return;
        const rows = events.map((event, i) => ({ ...event, seq: last - events.length + 1 + i }));
        await transaction.insertInto('job_events').values(rows).execute();
      });
    },
    /** Events after number `seq`, oldest first. */
    after: (job: string, seq: number, limit: number): Promise<JobEventRow[]> =>
      ofJob(job).where('seq', '>', seq).orderBy('seq').limit(limit).execute(),
    /** Events before number `seq`, newest first. */
    before: (job: string, seq: number, limit: number): Promise<JobEventRow[]> =>
      ofJob(job).where('seq', '<', seq).orderBy('seq', 'desc').limit(limit).execute(),
    metrics: (job: string): Promise<JobEventRow[]> =>
      ofJob(job).where('step', 'is not', null).orderBy('step').orderBy('seq').execute(),
    async remove(job: string, seqs: readonly number[]): Promise<void> {
      // SQLite takes some thousand parameters in one statement at most.
      for (let from = 0; from < seqs.length; from += 500) {
        const some = seqs.slice(from, from + 500);
        await db.deleteFrom('job_events').where('job', '=', job).where('seq', 'in', some).execute();
      }
    },
    /** Deletes events and checkpoints of steps after `step`: a job that resumes at `step` takes these steps again. */
    rewind(job: string, step: number, epoch: number | null = null): Promise<void> {
      return db.transaction().execute(async (transaction) => {
        if (epoch !== null && !(await isRunBy(transaction, job, epoch))) return;
        await transaction.deleteFrom('job_events').where('job', '=', job).where('step', '>', step).execute();
        await transaction.deleteFrom('job_checkpoints').where('job', '=', job).where('step', '>', step).execute();
      });
    },
    /** The figures of a step; undefined where they were thinned out. */
    async dataAt(job: string, step: number): Promise<string | undefined> {
      const row = await ofJob(job).where('step', '=', step).orderBy('seq', 'desc').limit(1).executeTakeFirst();
      return row?.data ?? undefined;
    },
    ...checkpointQueries(db),
  };
}

function checkpointQueries(db: Database) {
  return {
    async removeCheckpoint(job: string, step: number): Promise<void> {
      await db
        .deleteFrom('job_checkpoints')
        .where((row) => row.and({ job, step }))
        .execute();
    },
    async addCheckpoint(row: JobCheckpointRow): Promise<void> {
      const values = { created_at: row.created_at, train_loss: row.train_loss, valid_loss: row.valid_loss };
      await db
        .insertInto('job_checkpoints')
        .values(row)
        .onConflict((conflict) => conflict.columns(['job', 'step']).doUpdateSet(values))
        .execute();
    },
    /** Checkpoints before `step`, newest first. */
    checkpoints: (job: string, step: number, limit: number): Promise<JobCheckpointRow[]> =>
      db
        .selectFrom('job_checkpoints')
        .selectAll()
        .where('job', '=', job)
        .where('step', '<', step)
        .orderBy('step', 'desc')
        .limit(limit)
        .execute(),
  };
}

/** Whether the job still has this epoch. Locks its row to the end of the transaction. */
async function isRunBy(transaction: Database, job: string, epoch: number): Promise<boolean> {
  const touch = transaction.updateTable('jobs').set({ epoch }).where('id', '=', job).where('epoch', '=', epoch);
  return (await touch.executeTakeFirst()).numUpdatedRows > 0n;
}
