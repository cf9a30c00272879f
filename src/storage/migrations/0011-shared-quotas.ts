// Quotas that several servers count together. What a column means is in tables.ts.

import type { Kysely } from 'kysely';

export async function addSharedQuotas(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('rate_levels').addColumn('leases', 'text').execute();
}
