// SQLite in a thread as kysely's dialect. Writes take turns, and a transaction is one turn. A few reads run at once.
// Both take turns by owner of the work, so that a thousand changes or lists of one tenant hold up nobody else.

import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SelectQueryNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { type FairTurns, fairTurns } from '../../core/fair-turns.ts';
import { currentOwner } from '../../core/on-behalf.ts';
import type { SqliteClient } from './sqlite-client.ts';

/** Reads that are sent to the thread before it has answered: enough that it never waits for the next question. */
const readsAtOnce = 16;

export const sqliteDialect = (client: SqliteClient, options: { readonly isInMemory: boolean }): Dialect => ({
  createDriver: () => new ThreadDriver(client, options.isInMemory),
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createAdapter: () => new SqliteAdapter(),
  createIntrospector: (db) => new SqliteIntrospector(db),
});

type Turns = { readonly write: FairTurns; readonly read: FairTurns };

class ThreadDriver implements Driver {
  readonly #client: SqliteClient;
  readonly #turns: Turns = { write: fairTurns(), read: fairTurns(readsAtOnce) };
  readonly #isInMemory: boolean;

  constructor(client: SqliteClient, isInMemory: boolean) {
    this.#client = client;
    this.#isInMemory = isInMemory;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<ThreadConnection> {
    return new ThreadConnection(this.#client, this.#turns, this.#isInMemory);
  }

  /** Begins a transaction as a writer: a reader that becomes one half-way can fail. */
  beginTransaction(connection: ThreadConnection): Promise<void> {
    return connection.begin();
  }

  commitTransaction(connection: ThreadConnection): Promise<void> {
    return connection.end('commit');
  }

  rollbackTransaction(connection: ThreadConnection): Promise<void> {
    return connection.end('rollback');
  }

  async releaseConnection(connection: ThreadConnection): Promise<void> {
    connection.release();
  }

  destroy(): Promise<void> {
    return this.#client.close();
  }
}

class ThreadConnection implements DatabaseConnection {
  readonly #client: SqliteClient;
  readonly #turns: Turns;
  /** In memory reads take a turn among the writes: otherwise they would see what a transaction has not committed. */
  readonly #isInMemory: boolean;
  #giveBack: (() => void) | null = null;

  constructor(client: SqliteClient, turns: Turns, isInMemory: boolean) {
    this.#client = client;
    this.#turns = turns;
    this.#isInMemory = isInMemory;
  }

  async begin(): Promise<void> {
    this.#giveBack = await this.#turns.write(currentOwner());
    try {
      await this.#client.ask('write', 'begin immediate', []);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Ends a transaction. A commit that fails keeps the turn: the rollback comes next. */
  async end(how: 'commit' | 'rollback'): Promise<void> {
    if (this.#giveBack === null) return;
    try {
      await this.#client.ask('write', how, []);
      this.release();
    } finally {
      if (how === 'rollback') this.release();
    }
  }

  release(): void {
    this.#giveBack?.();
    this.#giveBack = null;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, changes, lastInsertRowid } = await this.#run(query);
    return {
      rows: rows as R[],
      numAffectedRows: BigInt(changes),
      insertId: BigInt(lastInsertRowid),
    };
  }

  // biome-ignore lint/correctness/useYield: kysely's interface asks for a generator
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('Queries are read whole or in pages.');
  }

  async #run({ sql, parameters, query }: CompiledQuery) {
    if (this.#giveBack !== null) return await this.#client.ask('write', sql, parameters);
    const on = SelectQueryNode.is(query) && !this.#isInMemory ? 'read' : 'write';
    const giveBack = await this.#turns[on](currentOwner());
    try {
      return await this.#client.ask(on, sql, parameters);
    } finally {
      giveBack();
    }
  }
}
