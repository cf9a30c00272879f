// Bounds the rows of what has ended: jobs and batches, whose tables share these columns.

import type { Database } from './database.ts';

/** Deletes the oldest of a tenant's rows in these states, so that `keep` stay. */
export async function prune(
  db: Database,
  table: 'jobs' | 'batches',
  tenant: string,
  states: readonly string[],
  keep: number,
): Promise<void> {
  const done = db.selectFrom(table).where('tenant', '=', tenant).where('state', 'in', states);
  const last = await done.select('seq').orderBy('seq', 'desc').limit(1).offset(keep).executeTakeFirst();
  if (last === undefined) return;
  const old = db.deleteFrom(table).where('tenant', '=', tenant).where('state', 'in', states);
  await old.where('seq', '<=', last.seq).execute();
}
