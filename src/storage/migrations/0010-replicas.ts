// Servers that share a database: the feed of changes, the servers with their leases, and the owners of work. What a
// column means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addReplicas(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('changes')
    .addColumn('seq', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('at', 'integer', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('detail', 'text')
    .execute();
  await db.schema
    .createTable('replicas')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('started_at', 'integer', (column) => column.notNull())
    .addColumn('expires_at', 'integer', (column) => column.notNull())
    .addColumn('seen', 'integer', (column) => column.notNull())
    .addColumn('drained', 'integer', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .execute();
  await db.schema.alterTable('jobs').addColumn('owner', 'text').execute();
  await db.schema
    .alterTable('jobs')
    .addColumn('epoch', 'integer', (column) => column.notNull().defaultTo(0))
    .execute();
  await db.schema.alterTable('batches').addColumn('owner', 'text').execute();
  // Unused: every replica has all merges.
  await db.schema.alterTable('merges').addColumn('owner', 'text').execute();
  await db.schema.alterTable('kept_answers').addColumn('owner', 'text').execute();
}
