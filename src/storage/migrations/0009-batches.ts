// Batches of requests, and the answers to their lines until those are files. What a column means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addBatches(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('batches')
    .addColumn('seq', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('id', 'text', (column) => column.notNull().unique())
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('created_by', 'text')
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('endpoint', 'text', (column) => column.notNull())
    .addColumn('input_file', 'text', (column) => column.notNull())
    .addColumn('input_digest', 'text', (column) => column.notNull())
    .addColumn('metadata', 'text')
    .addColumn('times', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'integer', (column) => column.notNull())
    .addColumn('total', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('completed', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('failed', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('output_file', 'text')
    .addColumn('error_file', 'text')
    .addColumn('errors', 'text')
    .execute();
  await db.schema.createIndex('batches_by_tenant').on('batches').columns(['tenant', 'seq']).execute();
  await db.schema.createIndex('batches_by_state').on('batches').column('state').execute();
  await db.schema
    .createTable('batch_answers')
    .addColumn('batch', 'text', (column) => column.notNull().references('batches.id').onDelete('cascade'))
    .addColumn('line', 'integer', (column) => column.notNull())
    .addColumn('is_error', 'integer', (column) => column.notNull())
    .addColumn('body', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('batch_answers_key', ['batch', 'line'])
    .execute();
}
