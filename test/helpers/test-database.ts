// A new, empty database for a test: in memory, or on the PostgreSQL that test:servers has started. A suite that uses it
// is thereby tested on both.

import { type Database, openDatabase } from '../../src/storage/database.ts';
import { createDatabaseOn } from './postgres-server.ts';

/** URL of the PostgreSQL for tests; null: only SQLite. */
export const postgresForTests = process.env.LORIKEET_TEST_POSTGRES ?? null;

/** Why tests that need PostgreSQL are skipped; false: they run. */
export const withoutPostgres = postgresForTests === null ? 'needs PostgreSQL: npm run test:servers' : false;

export async function newDatabase(): Promise<Database> {
  return await openDatabase(postgresForTests === null ? ':memory:' : await createDatabaseOn(postgresForTests));
}

/** @returns the URL of a new database on the PostgreSQL for tests, with the schema and no rows */
export async function newDatabaseUrl(): Promise<string> {
  const url = await createDatabaseOn(postgresForTests!);
  await (await openDatabase(url)).destroy();
  return url;
}
