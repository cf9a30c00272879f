// A connection to PostgreSQL on which no answer came.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import { postgresDialect } from '../../src/storage/postgres/postgres-dialect.ts';

test('it is asked nothing more, not even to take back what it had begun, and goes', async () => {
  const asked: string[] = [];
  const released: boolean[] = [];
  const client = {
    async query(text: string) {
      asked.push(text);
      if (text === 'select 1') throw new Error('Query read timeout');
      return { rows: [] };
    },
    release: (isLost: boolean) => void released.push(isLost),
  };
  const pool = { connect: async () => client, end: async () => {}, options: { max: 1 } } as unknown as Pool;
  const database = new Kysely<object>({ dialect: postgresDialect(pool) });
  const work = database.transaction().execute((transaction) => sql`select 1`.execute(transaction));
  await assert.rejects(work, { code: 'storage_unavailable' });
  assert.deepEqual(
    asked.map((text) => text.split(';')[0]),
    ['begin', 'select 1'],
  );
  assert.deepEqual(released, [true]);
});
