// A pool of connections to PostgreSQL, and the schema there. The driver is loaded only where a URL asks for it.

import { setTimeout } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import { LorikeetError } from '../../core/errors.ts';
import { locationName } from '../location.ts';
import { oldestReader } from '../migrations/index.ts';
import { isRefusedLogin, postgresError } from './postgres-error.ts';

/** A server's share of the database's connections, of which PostgreSQL has a hundred by default. */
const connectionsMax = 10;
const connectMsMax = 5000;
/** A statement that got no answer for so long has lost its connection. */
const answerMsMax = 35_000;
/** Another server's migration. */
const [lockRetryMs, lockMsMax] = [250, 600_000];

/** Types whose values are numbers in all of the project's tables, and texts to the driver: int8, and sums of it. */
const numberTypes: readonly number[] = [20, 1700];

export type PoolLimits = { readonly connections?: number; readonly answerMs?: number };

/** Throws `invalid_config` where the database refuses the URL's user, and `storage_unavailable`. */
export async function openPool(
  url: string,
  { connections = connectionsMax, answerMs = answerMsMax }: PoolLimits = {},
): Promise<Pool> {
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'lorikeet',
    max: connections,
    connectionTimeoutMillis: connectMsMax,
    query_timeout: answerMs,
    keepAlive: true,
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        numberTypes.includes(oid) ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  });
  // Of a connection that nobody uses just now; who asks next gets another one.
  pool.on('error', () => {});
  // Of one that a transaction has and does not use just now: its next statement says so.
  pool.on('connect', (client) => client.on('error', () => {}));
  try {
    await pool.query('select 1');
    return pool;
  } catch (error) {
    await pool.end();
    throw explained(error, url);
  }
}

function explained(error: unknown, url: string): unknown {
  const { message } = error as Error;
  if (isRefusedLogin(error)) {
    const refusal = `${locationName(url)} refuses this server: ${message}.`;
    return new LorikeetError('invalid_config', { message: refusal, param: 'LORIKEET_DATABASE_URL', cause: error });
  }
  const known = postgresError(error);
  if (known === null) return error;
  return new LorikeetError(known.code, { message: `${locationName(url)}: ${message}`, cause: error });
}

/**
 * The schema's number, in a transaction of its own. It also says how old a server may be that still works with it: old
 * and new ones run beside each other while they are replaced one after another.
 */
export async function postgresVersion(database: Kysely<unknown>): Promise<{ version: number; oldest: number }> {
  await lockSchema(database);
  await sql`create table if not exists schema_version (version bigint not null, oldest bigint not null)`.execute(
    database,
  );
  const { rows } = await sql<{ version: number; oldest: number }>`select * from schema_version`.execute(database);
  return rows[0] ?? { version: 0, oldest: 0 };
}

/**
 * To the end of the transaction. Asked for again and again: another server may migrate for longer than a statement may
 * wait for a lock. Throws `storage_busy` where that takes longer than a start waits.
 */
async function lockSchema(database: Kysely<unknown>): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += lockRetryMs) {
    const { rows } = await sql<{ is_mine: boolean }>`
      select pg_try_advisory_xact_lock(hashtextextended('lorikeet schema', 0)) as is_mine
    `.execute(database);
    if (rows[0]?.is_mine === true) return;
    if (waitedMs >= lockMsMax) {
      throw new LorikeetError('storage_busy', { message: 'Another server has changed the schema for ten minutes.' });
    }
    await setTimeout(lockRetryMs);
  }
}

export async function setPostgresVersion(database: Kysely<unknown>, version: number): Promise<void> {
  await sql`delete from schema_version`.execute(database);
  await sql`insert into schema_version values (${version}, ${oldestReader})`.execute(database);
}

/** Names of what is there already, other than the schema's own number. */
export async function tablesOf(database: Kysely<unknown>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = current_schema() and tablename <> 'schema_version'
  `.execute(database);
  return rows.map(({ name }) => name);
}
