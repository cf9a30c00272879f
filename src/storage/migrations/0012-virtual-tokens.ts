// Adapters with virtual tokens before the prompt. What a column means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addVirtualTokens(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('adapters')
    .addColumn('virtual_tokens', 'integer', (column) => column.notNull().defaultTo(0))
    .execute();
}
