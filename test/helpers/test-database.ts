// A new, empty database for a test: in memory, or on the PostgreSQL that test:servers has started. So a suite that
// knows nothing of it is held against both.

import { type Database, openDatabase } from '../../src/storage/database.ts';
import { createDatabaseOn } from './postgres-server.ts';

/** The URL of a PostgreSQL for tests; null: SQLite alone. */
export const postgresForTests = process.env.LORIKEET_TEST_POSTGRES ?? null;

/** For tests that need it: says why they are left out. */
export const withoutPostgres = postgresForTests === null ? 'needs PostgreSQL: npm run test:servers' : false;

export async function newDatabase(): Promise<Database> {
  return await openDatabase(postgresForTests === null ? ':memory:' : await createDatabaseOn(postgresForTests));
}
