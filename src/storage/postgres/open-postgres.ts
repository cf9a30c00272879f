// A pool of connections to PostgreSQL, and the schema's version there. The driver is loaded only where a URL asks for
// it.

import { setTimeout } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import { LorikeetError } from '../../core/errors.ts';
import { locationName } from '../location.ts';
import { oldestReader } from '../migrations/index.ts';
import { isRefusedLogin, postgresError } from './postgres-error.ts';

/** Connections of one server; PostgreSQL allows a hundred in all by default. */
const connectionsMax = 10;
const connectMsMax = 5000;
/** Milliseconds without an answer after which a statement's connection counts as lost. */
const answerMsMax = 35_000;
/** How often and how long a start tries to get the schema's lock while another server migrates. */
const [lockRetryMs, lockMsMax] = [250, 600_000];

/** Type ids of int8 and numeric (sums of int8). The driver gives texts; in this project's tables all are numbers. */
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
  // An error of an idle connection: the pool drops it, and the next user gets another one.
  pool.on('error', () => {});
  // An error of a connection that is idle within a transaction: the transaction's next statement fails and says so.
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
 * The schema's version and the oldest server that still works with it: servers of several versions run beside each
 * other during an upgrade. Locks the schema to the end of the transaction.
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
 * Locks the schema to the end of the transaction. Tries repeatedly instead of waiting, because another server may
 * migrate for longer than a statement may wait for a lock. Throws `storage_busy` after ten minutes.
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

/** Names of the tables in the schema, other than `schema_version`. */
export async function tablesOf(database: Kysely<unknown>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = current_schema() and tablename <> 'schema_version'
  `.execute(database);
  return rows.map(({ name }) => name);
}
