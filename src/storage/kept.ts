// Sums of what tenants keep: versions of adapters and files, whose tables share these columns.

import type { Database } from './database.ts';

/** Number of rows, and the bytes of their contents. */
export type Kept = { readonly count: number; readonly bytes: number };

/** @param createdBy prefix of the key that made the rows; null: no key; left out: whoever made them */
export async function kept(
  db: Database,
  table: 'adapters' | 'files',
  tenant: string,
  createdBy?: string | null,
): Promise<Kept> {
  let query = db.selectFrom(table).where('tenant', '=', tenant);
  if (createdBy !== undefined) query = query.where('created_by', createdBy === null ? 'is' : '=', createdBy);
  const sums = query.select((row) => [
    row.fn.countAll<number>().as('count'),
    row.fn.sum<number | null>('bytes').as('bytes'),
  ]);
  const { count, bytes } = await sums.executeTakeFirstOrThrow();
  return { count, bytes: bytes ?? 0 };
}
