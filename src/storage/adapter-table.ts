// The queries on versions of adapters. It knows rows; the registry knows what a version means and who may see it.

import { sql } from 'kysely';
import type { Database } from './database.ts';
import { type Kept, kept } from './kept.ts';
import { pagesOfQuery } from './pages.ts';
import type { AdapterRow } from './tables.ts';

export type AdapterTable = ReturnType<typeof adapterTable>;

/** The primary key of a version's row. */
export type VersionKey = Pick<AdapterRow, 'tenant' | 'name' | 'version'>;

/** One page of names, after the name that `after` gives. `tenant` null: names of all tenants. */
export type NamePage = {
  readonly tenant: string | null;
  readonly after: { readonly tenant: string; readonly name: string } | null;
  readonly limit: number;
};

/** @param db `insert` needs a transaction. */
export const adapterTable = (db: Database) => ({ ...reading(db), ...changing(db) });

function reading(db: Database) {
  const all = db.selectFrom('adapters').selectAll();
  return {
    /** The versions of one name, oldest first. */
    ofName: (tenant: string, name: string): Promise<AdapterRow[]> =>
      all.where('tenant', '=', tenant).where('name', '=', name).orderBy('version').execute(),
    ofNames: (tenant: string, names: readonly string[]): Promise<AdapterRow[]> =>
      all.where('tenant', '=', tenant).where('name', 'in', names).orderBy('name').orderBy('version').execute(),
    newest: (page: NamePage, baseDigest: string) => newest(db, page, baseDigest),
    /** Versions that are being deleted or are damaged, in the order of their keys, after `after`. */
    notReady: (after: VersionKey | null, limit: number) => notReady(db, after, limit),
    /** All versions that are not ready, page by page. */
    allNotReady: (limit: number) =>
      pagesOfQuery<AdapterRow, VersionKey | null>(
        null,
        (after) => notReady(db, after, limit),
        (last) => last,
      ),
    async hasDigest(digest: string): Promise<boolean> {
      const query = db.selectFrom('adapters').select('digest').where('digest', '=', digest).limit(1);
      return (await query.executeTakeFirst()) !== undefined;
    },
    /** Whether the tenant itself has a ready version with this content. */
    hasOwn: (tenant: string, digest: string) => hasOwn(db, tenant, digest),
    /** Whether another version has the same content. */
    async isShared({ tenant, name, version, digest }: VersionKey & { digest: string }): Promise<boolean> {
      const query = db.selectFrom('adapters').select('digest').where('digest', '=', digest);
      const isOther = sql<boolean>`(tenant, name, version) <> (${tenant}, ${name}, ${version})`;
      return (await query.where(isOther).limit(1).executeTakeFirst()) !== undefined;
    },
    /** Those of `digests` that a version has. */
    async known(digests: readonly string[]): Promise<Set<string>> {
      if (digests.length === 0) return new Set();
      const query = db.selectFrom('adapters').select('digest').distinct().where('digest', 'in', digests);
      return new Set((await query.execute()).map(({ digest }) => digest));
    },
    /** Digests of all contents, in order, after `after`. */
    digests: (after: string, limit: number) => digests(db, after, limit),
    /** Digests of all contents, page by page. */
    allDigests: (after: string, limit: number) =>
      pagesOfQuery<string, string>(
        after,
        (last) => digests(db, last, limit),
        (last) => last,
      ),
    /** @param createdBy prefix of the key that made the versions; null: no key; left out: whoever made them */
    kept: (tenant: string, createdBy?: string | null): Promise<Kept> => kept(db, 'adapters', tenant, createdBy),
    async training(tenant: string, name: string, version: number): Promise<string | undefined> {
      const query = db.selectFrom('adapter_trainings').select('record');
      const found = await query.where((row) => row.and({ tenant, name, version })).executeTakeFirst();
      return found?.record;
    },
    async template(tenant: string, name: string, version: number): Promise<string | undefined> {
      const query = db.selectFrom('adapter_templates').select('source');
      const found = await query.where((row) => row.and({ tenant, name, version })).executeTakeFirst();
      return found?.source;
    },
  };
}

async function hasOwn(db: Database, tenant: string, digest: string): Promise<boolean> {
  const query = db.selectFrom('adapters').select('digest').where('digest', '=', digest);
  const own = query.where('tenant', '=', tenant).where('state', '=', 'ready').limit(1);
  return (await own.executeTakeFirst()) !== undefined;
}

function notReady(db: Database, after: VersionKey | null, limit: number): Promise<AdapterRow[]> {
  // The state is written into the statement: with a parameter, SQLite would not use the index of these rows.
  const found = db.selectFrom('adapters').selectAll().where(sql<boolean>`state <> 'ready'`);
  const { tenant, name, version } = after ?? { tenant: '', name: '', version: 0 };
  const later = found.where(sql<boolean>`(tenant, name, version) > (${tenant}, ${name}, ${version})`);
  return later.orderBy('tenant').orderBy('name').orderBy('version').limit(limit).execute();
}

async function digests(db: Database, after: string, limit: number): Promise<string[]> {
  const query = db.selectFrom('adapters').select('digest').distinct().where('digest', '>', after);
  return (await query.orderBy('digest').limit(limit).execute()).map(({ digest }) => digest);
}

function changing(db: Database) {
  return {
    /** @returns the version's number: one more than any version of this name ever had */
    insert: (row: Omit<AdapterRow, 'version'>, beside: BesideVersion = {}) => insertVersion(db, row, beside),
    /** Changes the state of all versions with this content, of every tenant. @returns the versions that it changed */
    setState(digest: string, from: string, to: string): Promise<VersionKey[]> {
      const update = db.updateTable('adapters').set({ state: to });
      const changed = update.where((row) => row.and({ digest, state: from }));
      return changed.returning(['tenant', 'name', 'version']).execute();
    },
    /** @param version null: all versions of the name */
    async beginDeletion(tenant: string, name: string, version: number | null): Promise<void> {
      const update = db.updateTable('adapters').set({ state: 'deleting' });
      await update.where((row) => row.and({ tenant, name, ...(version === null ? {} : { version }) })).execute();
    },
    async delete({ tenant, name, version }: VersionKey): Promise<void> {
      await db
        .deleteFrom('adapters')
        .where((row) => row.and({ tenant, name, version }))
        .execute();
    },
  };
}

/**
 * Gives for each name the version that the name alone means; `newest` in registry/named.ts chooses alike among rows in
 * memory. Each is found by the primary key, however many versions a name has.
 */
function newest(db: Database, { tenant, after, limit }: NamePage, baseDigest: string): Promise<AdapterRow[]> {
  let names = db.selectFrom('adapters').select(['tenant', 'name']).distinct();
  if (tenant !== null) names = names.where('tenant', '=', tenant);
  if (tenant !== null && after?.tenant === tenant) names = names.where('name', '>', after.name);
  else if (after !== null) names = names.where(sql<boolean>`(tenant, name) > (${after.tenant}, ${after.name})`);
  const page = names.orderBy('tenant').orderBy('name').limit(limit).as('page');
  const last = (condition: ReturnType<typeof sql>) =>
    sql<number>`(select v.version from adapters v where v.tenant = page.tenant and v.name = page.name ${condition}
      order by v.version desc limit 1)`;
  const isReady = sql`and v.state = 'ready'`;
  const meant = sql<number>`coalesce(${last(sql`${isReady} and v.base_digest = ${baseDigest}`)},
    ${last(isReady)}, ${last(sql``)})`;
  return db
    .selectFrom(page)
    .innerJoin('adapters as a', (join) =>
      join.onRef('a.tenant', '=', 'page.tenant').onRef('a.name', '=', 'page.name').on('a.version', '=', meant),
    )
    .selectAll('a')
    .orderBy('a.tenant')
    .orderBy('a.name')
    .execute();
}

/** What is stored of a version in other tables, and not held in memory. */
export type BesideVersion = {
  /** How it was trained, in JSON. */
  readonly training?: string | null;
  /** The adapter's own chat template. */
  readonly template?: string | null;
};

async function insertVersion(
  db: Database,
  row: Omit<AdapterRow, 'version'>,
  { training = null, template = null }: BesideVersion,
): Promise<number> {
  const { tenant, name } = row;
  const { last_version: version } = await db
    .insertInto('adapter_names')
    .values({ tenant, name, last_version: 1, last_revision: 0 })
    .onConflict((conflict) =>
      conflict.columns(['tenant', 'name']).doUpdateSet((set) => ({
        last_version: set('adapter_names.last_version', '+', 1),
      })),
    )
    .returning('last_version')
    .executeTakeFirstOrThrow();
  await db
    .insertInto('adapters')
    .values({ ...row, version })
    .execute();
  if (training !== null) {
    await db.insertInto('adapter_trainings').values({ tenant, name, version, record: training }).execute();
  }
  if (template !== null) {
    await db.insertInto('adapter_templates').values({ tenant, name, version, source: template }).execute();
  }
  return version;
}
