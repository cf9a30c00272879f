// Service: what was used by tenant, adapter and minute, and how full the buckets of rate limits are. What a column
// means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addService(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('usage')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('minute', 'integer', (column) => column.notNull())
    .addColumn('adapter', 'text', (column) => column.notNull())
    .addColumn('requests', 'integer', (column) => column.notNull())
    .addColumn('prompt_tokens', 'integer', (column) => column.notNull())
    .addColumn('cached_tokens', 'integer', (column) => column.notNull())
    .addColumn('completion_tokens', 'integer', (column) => column.notNull())
    .addColumn('trained_tokens', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('usage_key', ['tenant', 'minute', 'adapter'])
    .execute();
  await db.schema
    .createTable('rate_levels')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('level', 'real', (column) => column.notNull())
    .addColumn('at', 'integer', (column) => column.notNull())
    .execute();
}
