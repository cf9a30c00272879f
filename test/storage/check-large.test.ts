// A large database is not read whole before serving begins, and its damage is found all the same.

import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { openStorage } from '../../src/storage/open-storage.ts';

/** @returns offset and size of an index's page that no start reads */
function fill(path: string, rows: number): { offset: number; bytes: number } {
  const database = new DatabaseSync(path);
  const insert = database.prepare(
    `insert into kept_answers (tenant, idempotency_key, request, created_at, status, headers, body)
     values ('t', ?, 'r', 1, 200, '{}', printf('%.*c', 1000000, 'x'))`,
  );
  database.exec('begin');
  for (let row = 0; row < rows; row++) insert.run(String(row));
  database.exec('commit');
  const { rootpage } = database.prepare("select rootpage from sqlite_master where name = 'usage_by_minute'").get()!;
  const { page_size: bytes } = database.prepare('pragma page_size').get() as { page_size: number };
  database.exec('pragma wal_checkpoint(truncate)');
  database.close();
  return { offset: (Number(rootpage) - 1) * bytes, bytes };
}

for (const { rows, isLarge } of [
  { rows: 1, isLarge: false },
  { rows: 40, isLarge: true },
]) {
  test(`damage in ${isLarge ? 'a large' : 'a small'} database is found`, async (t) => {
    const dataDir = mkdtempSync(join(tmpdir(), 'lorikeet-large-'));
    t.after(() => rmSync(dataDir, { recursive: true, force: true }));
    const path = join(dataDir, 'lorikeet.db');
    const settings = { dataDir, databaseUrl: null, blobUrl: null, registryStale: 0 };
    const start = async () => {
      await using open = new AsyncDisposableStack();
      const lost = new AbortController();
      const parts = { newId: () => 'the-id', clock: systemClock, timers: systemTimers, log: { warn: () => {} }, lost };
      await openStorage(settings, parts, open);
      await open.disposeAsync();
      return lost.signal.reason as { code: string; message: string } | undefined;
    };
    assert.equal(await start(), undefined);
    await (await openDatabase(path)).destroy();
    const page = fill(path, rows);
    assert.equal(await start(), undefined);
    const file = openSync(path, 'r+');
    writeSync(file, new Uint8Array(page.bytes), 0, page.bytes, page.offset);
    closeSync(file);
    const found = isLarge ? await start() : await start().catch((error) => error);
    assert.equal(found?.code, 'database_invalid');
    assert.match(found?.message ?? '', /lorikeet\.db cannot be used.*restore/);
  });
}
