// Chat templates of adapters: the digest is in the version's row, which is held in memory, and the text in a table
// beside.

import type { Kysely } from 'kysely';

export async function addAdapterTemplates(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('adapters').addColumn('template_digest', 'text').execute();
  await db.schema
    .createTable('adapter_templates')
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('source', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('adapter_templates_key', ['tenant', 'name', 'version'])
    .addForeignKeyConstraint(
      'adapter_templates_version',
      ['tenant', 'name', 'version'],
      'adapters',
      ['tenant', 'name', 'version'],
      (key) => key.onDelete('cascade'),
    )
    .execute();
}
