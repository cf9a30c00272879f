// Merges that are wanted. What a column means is in tables.ts. There is no foreign key to the adapters: a merge never
// keeps a version from being deleted, and version numbers are not used twice.

import type { Kysely } from 'kysely';

export async function addMerges(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('merges')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('merge_key', 'text', (column) => column.notNull())
    .addColumn('adapters', 'text', (column) => column.notNull())
    .addColumn('bits', 'integer')
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('error_code', 'text')
    .addColumn('error_message', 'text')
    .addColumn('automatic', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('created_by', 'text')
    .addColumn('figures', 'text')
    .addPrimaryKeyConstraint('merges_key', ['tenant', 'merge_key'])
    .execute();
}
