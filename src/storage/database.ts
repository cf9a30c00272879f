// Opens the database and brings its schema up to date. It knows SQLite's settings, not what the tables mean.

import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { Kysely, type SqliteDatabase, SqliteDialect, sql } from 'kysely';
import { LorikeetError } from '../core/errors.ts';
import { migrations } from './migrations/index.ts';
import type { Tables } from './tables.ts';

export type Database = Kysely<Tables>;

/**
 * @param path a file, made if it is missing (its folder must exist), or `:memory:`.
 * Several processes may hold it open: the server, and the command line beside it.
 */
export async function openDatabase(path: string): Promise<Database> {
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: openSqlite(path) }) });
  try {
    await migrate(db);
    return db;
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

/** All missing migrations or none, by one process at a time: the others wait at the lock and find nothing to do. */
async function migrate(db: Database): Promise<void> {
  await db.connection().execute(async (connection) => {
    await sql`BEGIN IMMEDIATE`.execute(connection);
    try {
      const { rows } = await sql<{ user_version: number }>`PRAGMA user_version`.execute(connection);
      const version = rows[0]!.user_version;
      if (version > migrations.length) {
        throw new LorikeetError('invalid_config', { message: 'The database was made by a newer version of Lorikeet.' });
      }
      for (const up of migrations.slice(version)) await up(connection as unknown as Kysely<unknown>);
      await sql.raw(`PRAGMA user_version = ${migrations.length}`).execute(connection);
      await sql`COMMIT`.execute(connection);
    } catch (error) {
      await sql`ROLLBACK`.execute(connection);
      throw error;
    }
  });
}

/** node:sqlite in the shape that kysely expects, which is better-sqlite3's. */
function openSqlite(path: string): SqliteDatabase {
  const sqlite = new DatabaseSync(path, { timeout: 5000, enableForeignKeyConstraints: true });
  // WAL lets readers and a writer work at once; FULL makes a commit survive a power cut, which WAL alone does not.
  sqlite.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  return {
    close: () => sqlite.close(),
    prepare(sql) {
      const statement = sqlite.prepare(sql);
      const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...values(parameters)),
        run(parameters) {
          // A full disk ends a transaction by itself; an error of the rollback would hide the one that says so.
          if (sql === 'rollback' && !sqlite.isTransaction) return { changes: 0, lastInsertRowid: 0 };
          return statement.run(...values(parameters));
        },
        iterate: (parameters) => statement.iterate(...values(parameters)),
      };
    },
  };
}
