// Operation: which data dir a database belongs to, tenants, what a key may do and until when, the audit log, and
// answers that are kept for clients who send a request twice. What a column means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addOperation(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('installation')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .execute();
  for (const column of ['expires_at', 'last_ip', 'replaced_by'] as const) {
    const type = column === 'expires_at' ? 'integer' : 'text';
    await db.schema.alterTable('keys').addColumn(column, type).execute();
  }
  await db.schema.alterTable('keys').addColumn('adapters', 'text').execute();
  await db.schema.alterTable('keys').addColumn('quota', 'text').execute();
  await db.schema.alterTable('keys').addColumn('created_by', 'text').execute();
  await addTenants(db);
  await addAudit(db);
  await addKeptAnswers(db);
}

async function addTenants(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('tenants')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('disabled_at', 'integer')
    .addColumn('quota', 'text')
    .execute();
}

async function addAudit(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('audit')
    .addColumn('seq', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('at', 'integer', (column) => column.notNull())
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('actor', 'text', (column) => column.notNull())
    .addColumn('ip', 'text')
    .addColumn('request_id', 'text')
    .addColumn('action', 'text', (column) => column.notNull())
    .addColumn('target', 'text', (column) => column.notNull())
    .addColumn('before', 'text')
    .addColumn('after', 'text')
    .execute();
  await db.schema.createIndex('audit_by_tenant').on('audit').columns(['tenant', 'seq']).execute();
  await db.schema.createIndex('audit_by_time').on('audit').column('at').execute();
}

async function addKeptAnswers(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('kept_answers')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('idempotency_key', 'text', (column) => column.notNull())
    .addColumn('request', 'text', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('status', 'integer')
    .addColumn('headers', 'text')
    .addColumn('body', 'text')
    .addPrimaryKeyConstraint('kept_answers_key', ['tenant', 'idempotency_key'])
    .execute();
  await db.schema.createIndex('kept_answers_by_time').on('kept_answers').column('created_at').execute();
}
