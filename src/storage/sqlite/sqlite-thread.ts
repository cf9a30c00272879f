// The thread that works with SQLite. One connection writes and one reads, so that in WAL mode another process's lock
// never holds up reads. A statement that finds the database locked is tried again later; the thread answers others
// meanwhile.

import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { setTimeout } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/clock.ts';
import {
  closeQuestion,
  type SqliteAnswer,
  type SqliteConnection,
  type SqliteFailure,
  type SqliteOptions,
  type SqliteQuestion,
  type SqliteResult,
} from './sqlite-messages.ts';

/** Milliseconds that opening waits for other processes, which may be making the schema. It blocks only this thread. */
const openMsMax = 10_000;
const retryMs = 5;
/** Prepared statements that are kept; the server uses some hundred. */
const statementsMax = 500;
/** SQLITE_BUSY, SQLITE_LOCKED. */
const busyCodes: readonly number[] = [5, 6];

const { path, busyMsMax } = workerData as SqliteOptions;
const port = parentPort!;

type Connection = { readonly sqlite: DatabaseSync; readonly statements: Map<string, StatementSync> };

function open(): Record<SqliteConnection, Connection> {
  const write = new DatabaseSync(path, { timeout: openMsMax, enableForeignKeyConstraints: true });
  // WAL lets readers and a writer work at once; FULL makes a commit survive a power cut, which WAL alone does not.
  write.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 0');
  const writer = { sqlite: write, statements: new Map() };
  // A database in memory belongs to one connection.
  if (path === ':memory:') return { write: writer, read: writer };
  const read = new DatabaseSync(path, { readOnly: true, timeout: 0 });
  return { write: writer, read: { sqlite: read, statements: new Map() } };
}

function prepare({ sqlite, statements }: Connection, sql: string): StatementSync {
  const known = statements.get(sql);
  if (known !== undefined) return known;
  const statement = sqlite.prepare(sql);
  if (statements.size >= statementsMax) statements.clear();
  statements.set(sql, statement);
  return statement;
}

function run(connection: Connection, sql: string, parameters: readonly unknown[]): SqliteResult {
  // A full disk ends a transaction by itself; an error of the rollback would then hide the first error.
  if (sql === 'rollback' && !connection.sqlite.isTransaction) return { rows: [], changes: 0, lastInsertRowid: 0 };
  const statement = prepare(connection, sql);
  const values = parameters as SQLInputValue[];
  if (statement.columns().length > 0) return { rows: statement.all(...values), changes: 0, lastInsertRowid: 0 };
  const { changes, lastInsertRowid } = statement.run(...values);
  return { rows: [], changes: Number(changes), lastInsertRowid: Number(lastInsertRowid) };
}

function failureOf(error: unknown): SqliteFailure {
  const { message, errcode } = error as { message: string; errcode?: number };
  return { message, errcode: errcode ?? null };
}

async function answer(connections: ReturnType<typeof open>, question: SqliteQuestion): Promise<SqliteAnswer> {
  const { id, on, sql, parameters } = question;
  const until = systemClock.monotonic() + busyMsMax;
  for (;;) {
    try {
      return { id, result: run(connections[on], sql, parameters) };
    } catch (error) {
      const failure = failureOf(error);
      const isBusy = busyCodes.includes((failure.errcode ?? 0) & 0xff);
      if (!isBusy || systemClock.monotonic() >= until) return { id, failure };
      await setTimeout(retryMs);
    }
  }
}

try {
  const connections = open();
  port.postMessage({ id: null, result: { rows: [], changes: 0, lastInsertRowid: 0 } } satisfies SqliteAnswer);
  port.on('message', async (question: SqliteQuestion | typeof closeQuestion) => {
    if (question !== closeQuestion) {
      port.postMessage(await answer(connections, question));
      return;
    }
    if (connections.read !== connections.write) connections.read.sqlite.close();
    connections.write.sqlite.close();
    port.close();
  });
} catch (error) {
  port.postMessage({ id: null, failure: failureOf(error) } satisfies SqliteAnswer);
}
