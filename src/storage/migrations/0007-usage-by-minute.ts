// What all tenants used is read by minute.

import type { Kysely } from 'kysely';

export async function addUsageByMinute(db: Kysely<unknown>): Promise<void> {
  await db.schema.createIndex('usage_by_minute').on('usage').columns(['minute', 'adapter', 'tenant']).execute();
}
