// Copies all rows of one database into another, empty one, in one transaction that ends with a comparison of both. An
// interrupted copy leaves nothing. Knows the keys of tables, not what the tables mean.

import { createHash } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { LorikeetError } from '../core/errors.ts';
import { type Database, isPostgres, lockKey } from './database.ts';
import { pagesOfQuery } from './pages.ts';
import { countedTables, type TableName, tableKeys } from './table-keys.ts';

/** Rows of any table: only their keys are known here. */
// biome-ignore lint/suspicious/noExplicitAny: one query for all tables
type AnyTables = Kysely<any>;
type Row = Readonly<Record<string, unknown>>;

/** Rows that are read at once. It is small because a row may hold a whole answer's body. */
const pageSize = 200;

export type MovedRows = {
  readonly rows: number;
  /** False where an earlier run had copied the same rows. */
  readonly isNew: boolean;
};

/** Expects that nobody changes either database meanwhile. Throws `invalid_config` where the target holds other rows. */
export function moveRows(source: Database, target: Database): Promise<MovedRows> {
  return source.transaction().execute((from) =>
    target.transaction().execute(async (to) => {
      await lockKey(to, 'installation');
      const isNew = await isEmpty(to);
      const taken = new LorikeetError('invalid_config', {
        message: 'The target holds other rows already. Name an empty database.',
      });
      let rows = 0;
      for (const table of Object.keys(tableKeys) as TableName[]) {
        const [one, other] = [createHash('sha256'), createHash('sha256')];
        for await (const page of pages(from, table)) {
          rows += page.length;
          one.update(textOf(page));
          if (isNew)
            await to
              .insertInto(table)
              .values([...page] as never)
              .execute();
        }
        for await (const page of pages(to, table)) other.update(textOf(page));
        if (one.digest('hex') === other.digest('hex')) continue;
        if (!isNew) throw taken;
        throw new LorikeetError('database_invalid', { message: `Rows of ${table} did not arrive as they are.` });
      }
      if (isNew) await countOn(to);
      return { rows, isNew };
    }),
  );
}

async function isEmpty(database: AnyTables): Promise<boolean> {
  for (const table of Object.keys(tableKeys)) {
    if ((await database.selectFrom(table).selectAll().limit(1).execute()).length > 0) return false;
  }
  return true;
}

function pages(database: AnyTables, table: TableName): AsyncGenerator<readonly Row[]> {
  const key: readonly string[] = tableKeys[table];
  const columns = sql.join(key.map((column) => sql.ref(column)));
  const read = (last: Row | null): Promise<readonly Row[]> => {
    let query = database.selectFrom(table).selectAll().limit(pageSize);
    for (const column of key) query = query.orderBy(column);
    if (last !== null) {
      query = query.where(sql<boolean>`(${columns}) > (${sql.join(key.map((column) => last[column]))})`);
    }
    return query.execute();
  };
  return pagesOfQuery<Row, Row | null>(null, read, (last) => last);
}

/** A text that is equal for equal rows, whatever the order of their columns. */
const textOf = (rows: readonly Row[]): string =>
  rows.map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))).join('\n');

/** Sets PostgreSQL's sequences to the largest copied number. SQLite counts on from the largest number by itself. */
async function countOn(database: Database): Promise<void> {
  if (!isPostgres(database)) return;
  for (const table of countedTables) {
    const largest = sql`(select max(seq) from ${sql.table(table)})`;
    const sequence = sql`pg_get_serial_sequence(${table}, 'seq')`;
    await sql`select setval(${sequence}, coalesce(${largest}, 1), ${largest} is not null)`.execute(database);
  }
}
