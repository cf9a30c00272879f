// Adapters: versions of a name, and aliases that point to them. What a column means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addAdapters(db: Kysely<unknown>): Promise<void> {
  await addVersions(db);
  await addAliases(db);
}

async function addVersions(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('adapter_names')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('last_version', 'integer', (column) => column.notNull())
    .addColumn('last_revision', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('adapter_names_key', ['tenant', 'name'])
    .execute();
  await db.schema
    .createTable('adapters')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('base_digest', 'text', (column) => column.notNull())
    .addColumn('base_name', 'text', (column) => column.notNull())
    .addColumn('r', 'integer', (column) => column.notNull())
    .addColumn('target_modules', 'text', (column) => column.notNull())
    .addColumn('parameters', 'integer', (column) => column.notNull())
    .addColumn('bytes', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('created_by', 'text')
    .addColumn('source', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('warnings', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('adapters_key', ['tenant', 'name', 'version'])
    .addForeignKeyConstraint('adapters_name', ['tenant', 'name'], 'adapter_names', ['tenant', 'name'])
    .execute();
  await db.schema.createIndex('adapters_by_digest').on('adapters').column('digest').execute();
}

/** An alias cannot point to nothing: the database itself refuses to delete a version that one points to. */
async function addAliases(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('aliases')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('alias', 'text', (column) => column.notNull())
    .addColumn('revision', 'integer', (column) => column.notNull())
    .addColumn('updated_at', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('aliases_key', ['tenant', 'name', 'alias'])
    .execute();
  await db.schema
    .createTable('alias_targets')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('alias', 'text', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('weight', 'real', (column) => column.notNull())
    .addPrimaryKeyConstraint('alias_targets_key', ['tenant', 'name', 'alias', 'version'])
    .addForeignKeyConstraint(
      'alias_targets_alias',
      ['tenant', 'name', 'alias'],
      'aliases',
      ['tenant', 'name', 'alias'],
      (key) => key.onDelete('cascade'),
    )
    .addForeignKeyConstraint('alias_targets_version', ['tenant', 'name', 'version'], 'adapters', [
      'tenant',
      'name',
      'version',
    ])
    .execute();
}
