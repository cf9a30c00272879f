// Opens the database and brings its schema up to date. It knows where SQLite and PostgreSQL differ in that, not what
// the tables mean.

import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { Kysely, PostgresAdapter, sql } from 'kysely';
import { LorikeetError } from '../core/errors.ts';
import { type DatabaseLocation, isPostgresUrl, locationName } from './location.ts';
import { migrations } from './migrations/index.ts';
import { openPool, type PoolLimits, postgresVersion, setPostgresVersion, tablesOf } from './postgres/open-postgres.ts';
import { postgresDialect } from './postgres/postgres-dialect.ts';
import { openSqlite } from './sqlite/sqlite-client.ts';
import { sqliteDialect } from './sqlite/sqlite-dialect.ts';
import type { Tables } from './tables.ts';

export type Database = Kysely<Tables>;

/** How long a write waits for another program's lock before it is refused with `storage_busy`. */
const busyMsMax = 2000;

/**
 * Size up to which a file is checked while it is opened. A larger one takes seconds: `checkLarge` reads it beside the
 * start.
 */
const checkedAtOnceBytes = 32 * 1024 * 1024;

export type OpenedDatabase = {
  readonly database: Database;
  /** Version of the schema that was found; 0 where there was none. */
  readonly schemaBefore: number;
};

/**
 * Opens the database and migrates it. Several processes may hold it open: the server, and the command line beside it.
 * Throws `database_invalid` where it is damaged or another program's, `invalid_config` where it is newer.
 * @param location a file, made if it is missing (its folder must exist), `:memory:`, or a PostgreSQL's URL.
 */
export async function openDatabase(location: DatabaseLocation): Promise<Database> {
  return (await openAndMigrate(location)).database;
}

export async function openAndMigrate(location: DatabaseLocation): Promise<OpenedDatabase> {
  const database = isPostgresUrl(location) ? await openPostgres(location) : await openFile(location);
  try {
    return { database, schemaBefore: await migrate(database) };
  } catch (error) {
    await database.destroy();
    throw explained(error, location);
  }
}

/** Checks a file that was too large to be checked when it was opened. Throws `database_invalid`. */
export async function checkLarge(path: string): Promise<void> {
  if (statSync(path).size <= checkedAtOnceBytes) return;
  const client = await openSqlite({ path, busyMsMax });
  try {
    const { rows } = await client.ask('read', 'PRAGMA quick_check(1)', []);
    const [found] = rows as { quick_check: string }[];
    if (found?.quick_check !== 'ok') throw new LorikeetError('database_invalid');
  } catch (error) {
    throw explained(error, path);
  } finally {
    await client.close();
  }
}

/** Opens a pool of its own, so that its queries wait for no others. Expects the schema to be there. */
export const openPostgres = async (url: string, limits: PoolLimits = {}): Promise<Database> =>
  new Kysely<Tables>({ dialect: postgresDialect(await openPool(url, limits)) });

async function openFile(path: string): Promise<Database> {
  const isInMemory = path === ':memory:';
  if (!isInMemory) keepPrivate(path);
  const client = await openSqlite({ path, busyMsMax }).catch((error) => {
    throw explained(error, path);
  });
  return new Kysely<Tables>({ dialect: sqliteDialect(client, { isInMemory }) });
}

export const isPostgres = (database: Database): boolean => database.getExecutor().adapter instanceof PostgresAdapter;

/**
 * Runs `work` in a transaction that overlaps no other with the same `key`, in whichever process. SQLite's write
 * transactions never overlap; PostgreSQL's wait for the key.
 */
export function exclusively<T>(
  database: Database,
  key: string,
  work: (transaction: Database) => Promise<T>,
): Promise<T> {
  return database.transaction().execute(async (transaction): Promise<T> => {
    await lockKey(transaction, key);
    return await work(transaction);
  });
}

/**
 * Does what `exclusively` does, for work that waits for more than the database. SQLite has one server, whose own queue
 * is enough, so no transaction is held open there.
 */
export function acrossServers<T>(database: Database, key: string, work: (rows: Database) => Promise<T>): Promise<T> {
  if (!isPostgres(database)) return work(database);
  return exclusively(database, key, async (transaction) => {
    await sql`set local idle_in_transaction_session_timeout = '2min'`.execute(transaction);
    return await work(transaction);
  });
}

/** The key under which a content is published, and under which its bytes are removed with its last version. */
export const contentKey = (digest: string): string => `content ${digest}`;

/** Locks the key to the end of the transaction. A transaction that takes several keys takes them in one fixed order. */
export async function lockKey(transaction: Database, key: string): Promise<void> {
  if (!isPostgres(transaction)) return;
  await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`.execute(transaction);
}

/** Makes the file readable by its owner only: it holds hashes of keys. SQLite gives its other files the same mode. */
function keepPrivate(path: string): void {
  const mode = 0o600;
  try {
    if (existsSync(path)) chmodSync(path, mode);
    else closeSync(openSync(path, 'a', mode));
  } catch {
    // The file is another account's, or its folder is missing: opening it says so.
  }
}

/** Runs all missing migrations or none. Other processes wait at the lock and then find nothing to do. */
function migrate(database: Database): Promise<number> {
  return database.transaction().execute(async (transaction) => {
    const schema = isPostgres(database) ? postgresSchema : sqliteSchema;
    const db = transaction as unknown as Kysely<unknown>;
    const { version, oldest } = await schema.find(db);
    if (version === 0 ? (await schema.tables(db)).length > 0 : !(await schema.tables(db)).includes('keys')) {
      throw new LorikeetError('database_invalid', { message: 'It is the database of another program.' });
    }
    if (migrations.length < oldest) {
      throw new LorikeetError('invalid_config', { message: 'The database was made by a newer version of Lorikeet.' });
    }
    for (const up of migrations.slice(version)) await up(db);
    if (version < migrations.length) await schema.set(db, migrations.length);
    return version;
  });
}

type Schema = {
  /** `version` of the schema, and the `oldest` server version that still works with it. */
  find(db: Kysely<unknown>): Promise<{ version: number; oldest: number }>;
  tables(db: Kysely<unknown>): Promise<string[]>;
  set(db: Kysely<unknown>, version: number): Promise<void>;
};

const postgresSchema: Schema = { find: postgresVersion, tables: tablesOf, set: setPostgresVersion };

const sqliteSchema: Schema = {
  async find(db) {
    const { rows } = await sql<{ user_version: number }>`PRAGMA user_version`.execute(db);
    const version = rows[0]!.user_version;
    const size = await sql<{ bytes: number }>`
      SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()`.execute(db);
    if (size.rows[0]!.bytes > checkedAtOnceBytes) return { version, oldest: version };
    const damage = await sql<{ quick_check: string }>`PRAGMA quick_check(1)`.execute(db);
    if (damage.rows[0]?.quick_check !== 'ok') throw new LorikeetError('database_invalid');
    return { version, oldest: version };
  },
  async tables(db) {
    const { rows } = await sql<{ name: string }>`SELECT name FROM sqlite_master WHERE type = 'table'`.execute(db);
    return rows.map(({ name }) => name);
  },
  async set(db, version) {
    await sql.raw(`PRAGMA user_version = ${version}`).execute(db);
  },
};

function explained(error: unknown, location: DatabaseLocation): unknown {
  if (!(error instanceof LorikeetError) || error.code !== 'database_invalid') return error;
  const message = `The database ${locationName(location)} cannot be used: ${error.message} ${restoreHint}`;
  return new LorikeetError('database_invalid', { message, cause: error });
}

/** What an operator can do about a lost database. */
export const restoreHint =
  'Stop the server and restore a backup with `lorikeet restore <folder>` into a new data dir. Nothing was changed.';
