// Training: files of rows, jobs, their events and checkpoints, and how a trained version came about. What a column
// means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addTraining(db: Kysely<unknown>): Promise<void> {
  await addFiles(db);
  await addJobs(db);
  await addEvents(db);
  await addCheckpoints(db);
  await addTrainings(db);
}

async function addFiles(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('files')
    .addColumn('seq', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('id', 'text', (column) => column.notNull().unique())
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('created_by', 'text')
    .addColumn('filename', 'text', (column) => column.notNull())
    .addColumn('purpose', 'text', (column) => column.notNull())
    .addColumn('bytes', 'integer', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('rows', 'integer', (column) => column.notNull())
    .execute();
  await db.schema.createIndex('files_by_tenant').on('files').columns(['tenant', 'seq']).execute();
  await db.schema.createIndex('files_by_digest').on('files').column('digest').execute();
}

async function addJobs(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('jobs')
    .addColumn('seq', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('id', 'text', (column) => column.notNull().unique())
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('queued_at', 'integer', (column) => column.notNull())
    .addColumn('started_at', 'integer')
    .addColumn('finished_at', 'integer')
    .addColumn('training_file', 'text', (column) => column.notNull())
    .addColumn('validation_file', 'text')
    .addColumn('spec', 'text', (column) => column.notNull())
    .addColumn('progress', 'text', (column) => column.notNull())
    .addColumn('last_event', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('outcome', 'text')
    .addColumn('adapter', 'text')
    .addColumn('error', 'text')
    .execute();
  await db.schema.createIndex('jobs_by_tenant').on('jobs').columns(['tenant', 'seq']).execute();
  await db.schema.createIndex('jobs_by_state').on('jobs').column('state').execute();
}

async function addEvents(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('job_events')
    .addColumn('job', 'text', (column) => column.notNull().references('jobs.id').onDelete('cascade'))
    .addColumn('seq', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('level', 'text', (column) => column.notNull())
    .addColumn('message', 'text', (column) => column.notNull())
    .addColumn('step', 'integer')
    .addColumn('data', 'text')
    .addPrimaryKeyConstraint('job_events_key', ['job', 'seq'])
    .execute();
}

async function addCheckpoints(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('job_checkpoints')
    .addColumn('job', 'text', (column) => column.notNull().references('jobs.id').onDelete('cascade'))
    .addColumn('step', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('train_loss', 'real')
    .addColumn('valid_loss', 'real')
    .addColumn('adapter', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('job_checkpoints_key', ['job', 'step'])
    .execute();
}

/** Records of trainings have a table beside the versions: all versions are held in memory, and a loss curve is long. */
async function addTrainings(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('adapter_trainings')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('record', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('adapter_trainings_key', ['tenant', 'name', 'version'])
    .addForeignKeyConstraint(
      'adapter_trainings_version',
      ['tenant', 'name', 'version'],
      'adapters',
      ['tenant', 'name', 'version'],
      (key) => key.onDelete('cascade'),
    )
    .execute();
}
