// Opens the database and brings its schema up to date. It knows SQLite's settings, not what the tables mean.

import { chmodSync, closeSync, existsSync, openSync } from 'node:fs';
import { Kysely, sql } from 'kysely';
import { LorikeetError } from '../core/errors.ts';
import { migrations } from './migrations/index.ts';
import { openSqlite } from './sqlite/sqlite-client.ts';
import { sqliteDialect } from './sqlite/sqlite-dialect.ts';
import type { Tables } from './tables.ts';

export type Database = Kysely<Tables>;

/** How long a write waits for another program's lock before it is refused with `storage_busy`. */
const busyMsMax = 2000;

export type OpenedDatabase = {
  readonly database: Database;
  /** Of the schema that was found; 0 where there was none. */
  readonly schemaBefore: number;
};

/**
 * @param path a file, made if it is missing (its folder must exist), or `:memory:`.
 * Several processes may hold it open: the server, and the command line beside it.
 * Throws `database_invalid` where the file is damaged or another program's, `invalid_config` where it is newer.
 */
export async function openDatabase(path: string): Promise<Database> {
  return (await openAndMigrate(path)).database;
}

export async function openAndMigrate(path: string): Promise<OpenedDatabase> {
  const isInMemory = path === ':memory:';
  if (!isInMemory) keepPrivate(path);
  const client = await openSqlite({ path, busyMsMax }).catch((error) => {
    throw explained(error, path);
  });
  const database = new Kysely<Tables>({ dialect: sqliteDialect(client, { isInMemory }) });
  try {
    return { database, schemaBefore: await migrate(database) };
  } catch (error) {
    await database.destroy();
    throw explained(error, path);
  }
}

/** It holds keys' hashes: no other account of this machine reads it. SQLite gives its other files the same mode. */
function keepPrivate(path: string): void {
  const mode = 0o600;
  try {
    if (existsSync(path)) chmodSync(path, mode);
    else closeSync(openSync(path, 'a', mode));
  } catch {
    // Another account's, or a folder that is not there: opening it says what is wrong.
  }
}

/** All missing migrations or none, by one process at a time: the others wait at the lock and find nothing to do. */
function migrate(database: Database): Promise<number> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql<{ user_version: number }>`PRAGMA user_version`.execute(transaction);
    const version = rows[0]!.user_version;
    await assertOurs(transaction, version);
    for (const up of migrations.slice(version)) await up(transaction as unknown as Kysely<unknown>);
    await sql.raw(`PRAGMA user_version = ${migrations.length}`).execute(transaction);
    return version;
  });
}

async function assertOurs(database: Database, version: number): Promise<void> {
  const damage = await sql<{ quick_check: string }>`PRAGMA quick_check(1)`.execute(database);
  if (damage.rows[0]?.quick_check !== 'ok') throw new LorikeetError('database_invalid');
  const tables = await sql<{ name: string }>`SELECT name FROM sqlite_master WHERE type = 'table'`.execute(database);
  const names = tables.rows.map(({ name }) => name);
  if (version === 0 ? names.length > 0 : !names.includes('keys')) {
    throw new LorikeetError('database_invalid', { message: 'The file is a database of another program.' });
  }
  if (version > migrations.length) {
    throw new LorikeetError('invalid_config', { message: 'The database was made by a newer version of Lorikeet.' });
  }
}

function explained(error: unknown, path: string): unknown {
  if (!(error instanceof LorikeetError) || error.code !== 'database_invalid') return error;
  const message = `The database ${path} cannot be used: ${error.message} ${restoreHint}`;
  return new LorikeetError('database_invalid', { message, cause: error });
}

/** What an operator can do about a database that is lost. */
export const restoreHint =
  'Stop the server and restore a backup with `lorikeet restore <folder>` into a new data dir. Nothing was changed.';
