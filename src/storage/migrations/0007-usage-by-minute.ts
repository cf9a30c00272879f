// An index of usage by minute: the usage of all tenants is read in this order.

import type { Kysely } from 'kysely';

export async function addUsageByMinute(db: Kysely<unknown>): Promise<void> {
  await db.schema.createIndex('usage_by_minute').on('usage').columns(['minute', 'adapter', 'tenant']).execute();
}
