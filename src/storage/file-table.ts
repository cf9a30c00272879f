// The queries on uploaded files. It knows rows, not who owns a file and what it is for.

import type { Insertable } from 'kysely';
import type { Database } from './database.ts';
import { type Kept, kept } from './kept.ts';
import type { FileRow, Tables } from './tables.ts';

export type FileTable = ReturnType<typeof fileTable>;
export type NewFileRow = Insertable<Tables['files']>;

/** Rows after the one that `after` names, newest first or oldest first. */
export type Page = { readonly after: string | null; readonly limit: number; readonly newestFirst: boolean };

export function fileTable(db: Database) {
  return {
    /** Inserts the row; where its id is there already, changes nothing. @returns the stored row. */
    async insert(row: NewFileRow): Promise<FileRow> {
      await db
        .insertInto('files')
        .values(row)
        .onConflict((conflict) => conflict.column('id').doNothing())
        .execute();
      return await db.selectFrom('files').selectAll().where('id', '=', row.id).executeTakeFirstOrThrow();
    },
    find: (tenant: string, id: string): Promise<FileRow | undefined> =>
      db
        .selectFrom('files')
        .selectAll()
        .where((row) => row.and({ tenant, id }))
        .executeTakeFirst(),
    async list(tenant: string, purposes: readonly string[], { after, limit, newestFirst }: Page): Promise<FileRow[]> {
      if (purposes.length === 0) return [];
      let query = db.selectFrom('files').selectAll().where('tenant', '=', tenant).where('purpose', 'in', purposes);
      if (after !== null) {
        const at = db.selectFrom('files').select('seq').where('id', '=', after).where('tenant', '=', tenant);
        query = query.where('seq', newestFirst ? '<' : '>', at);
      }
      return await query
        .orderBy('seq', newestFirst ? 'desc' : 'asc')
        .limit(limit)
        .execute();
    },
    /** @param createdBy prefix of the key that made the files; null: no key; left out: whoever made them */
    kept: (tenant: string, createdBy?: string | null): Promise<Kept> => kept(db, 'files', tenant, createdBy),
    /** Whether a row of any tenant has this content. */
    async isUsed(digest: string): Promise<boolean> {
      const row = await db.selectFrom('files').select('id').where('digest', '=', digest).limit(1).executeTakeFirst();
      return row !== undefined;
    },
    async digests(): Promise<Set<string>> {
      const rows = await db.selectFrom('files').select('digest').distinct().execute();
      return new Set(rows.map(({ digest }) => digest));
    },
    async delete(id: string): Promise<void> {
      await db.deleteFrom('files').where('id', '=', id).execute();
    },
  };
}
