// An index of the versions that are being deleted or damaged: few among very many, and every start reads them.

import { type Kysely, sql } from 'kysely';

export async function addAdaptersNotReady(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createIndex('adapters_not_ready')
    .on('adapters')
    .columns(['tenant', 'name', 'version'])
    .where(sql<boolean>`state <> 'ready'`)
    .execute();
}
