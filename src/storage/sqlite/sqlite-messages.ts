// What the thread of the database is asked, and what it answers.

/** `read`: on a connection that can only read, which no writer makes wait. */
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

/** An error loses its own fields between threads. `errcode` is SQLite's extended code. */
export type SqliteFailure = { readonly message: string; readonly errcode: number | null };

/** `id` null: the database is open. */
export type SqliteAnswer = { readonly id: number | null } & (
  | { readonly result: SqliteResult }
  | { readonly failure: SqliteFailure }
);

/** Asked for instead of a statement: both connections close and the thread ends. */
export const closeQuestion = 'close';

export type SqliteOptions = {
  /** A file, or `:memory:`. */
  readonly path: string;
  /** How long a statement waits for another process's lock. */
  readonly busyMsMax: number;
};
