// The messages to the thread of the database, and its answers.

/** Connection of a statement. `read` can only read, and no writer holds it up. */
export type SqliteConnection = 'read' | 'write';

export type SqliteQuestion = {
  readonly id: number;
  readonly on: SqliteConnection;
  readonly sql: string;
  readonly parameters: readonly unknown[];
};

export type SqliteResult = {
  readonly rows: readonly unknown[];
  readonly changes: number;
  readonly lastInsertRowid: number;
};

/** An error's message and code: an error loses its own fields between threads. `errcode` is SQLite's extended code. */
export type SqliteFailure = { readonly message: string; readonly errcode: number | null };

/** Answer to the question with this `id`; null: the answer to opening the database. */
export type SqliteAnswer = { readonly id: number | null } & (
  | { readonly result: SqliteResult }
  | { readonly failure: SqliteFailure }
);

/** Message that closes both connections and ends the thread. */
export const closeQuestion = 'close';

export type SqliteOptions = {
  /** A file, or `:memory:`. */
  readonly path: string;
  /** Milliseconds that a statement waits for another process's lock. */
  readonly busyMsMax: number;
};
