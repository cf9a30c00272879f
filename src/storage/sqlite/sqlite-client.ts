// The interface to the database's thread: questions in, promises out. The thread alone does not keep the process alive.

import { Worker } from 'node:worker_threads';
import {
  closeQuestion,
  type SqliteAnswer,
  type SqliteConnection,
  type SqliteFailure,
  type SqliteOptions,
  type SqliteQuestion,
  type SqliteResult,
} from './sqlite-messages.ts';
import { storageError } from './storage-error.ts';

export type SqliteClient = {
  /** Throws `storage_busy`, `storage_full`, `database_invalid`, or an error with SQLite's `errcode`. */
  ask(on: SqliteConnection, sql: string, parameters: readonly unknown[]): Promise<SqliteResult>;
  close(): Promise<void>;
};

type Waiting = { resolve(result: SqliteResult): void; reject(error: Error): void };

export async function openSqlite(options: SqliteOptions): Promise<SqliteClient> {
  const thread = new Worker(new URL('./sqlite-thread.ts', import.meta.url), {
    workerData: options,
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const waiting = new Map<number | null, Waiting>();
  const exited = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
  let asked = 0;
  let isClosed = false;

  const settle = (id: number | null): Waiting | undefined => {
    const found = waiting.get(id);
    waiting.delete(id);
    if (waiting.size === 0) thread.unref();
    return found;
  };
  const expect = (id: number | null): Promise<SqliteResult> => {
    thread.ref();
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  };
  const failAll = (error: Error) => {
    isClosed = true;
    for (const id of [...waiting.keys()]) settle(id)?.reject(error);
  };
  thread.on('message', (answer: SqliteAnswer) => {
    const found = settle(answer.id);
    if ('result' in answer) found?.resolve(answer.result);
    else found?.reject(errorOf(answer.failure));
  });
  thread.once('error', failAll);
  thread.once('exit', () => failAll(new Error('The thread of the database has ended.')));

  await expect(null);
  return {
    async ask(on, sql, parameters) {
      if (isClosed) throw new Error('The database is closed.');
      const id = asked++;
      const result = expect(id);
      thread.postMessage({ id, on, sql, parameters } satisfies SqliteQuestion);
      return await result;
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      thread.ref();
      thread.postMessage(closeQuestion);
      await exited;
    },
  };
}

const errorOf = ({ message, errcode }: SqliteFailure): Error => {
  const error = Object.assign(new Error(message), { errcode });
  return storageError(error) ?? error;
};
