import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { keyTable } from '../../src/storage/key-table.ts';
import { keyStore } from '../../src/tenants/keys.ts';
import { newDatabase } from '../helpers/test-database.ts';

async function store(t: TestContext) {
  const time = { now: 1000 };
  const db = await newDatabase();
  t.after(() => db.destroy());
  const table = keyTable(db);
  return { table, time, keys: keyStore(table, { now: () => time.now, monotonic: () => time.now }) };
}

const asked = { tenant: 'acme', name: 'ci', scopes: ['generate', 'metrics', 'generate'] } as const;

test('a key is shown once, found again by its prefix, and its secret is kept nowhere', async (t) => {
  const { keys, table } = await store(t);
  const { key, record } = await keys.create(asked);
  assert.match(key, /^lk_[0-9a-f]{12}_[0-9a-f]{48}$/);
  const expected = {
    prefix: key.split('_')[1],
    tenant: 'acme',
    name: 'ci',
    scopes: ['generate', 'metrics'],
    createdAt: 1000,
    createdBy: null,
    lastUsedAt: null,
    lastIp: null,
    revokedAt: null,
    expiresAt: null,
    adapters: null,
    quota: null,
    replacedBy: null,
  };
  assert.deepEqual(record, expected);
  assert.deepEqual(await keys.verify(key), expected);
  assert.ok(!JSON.stringify(await table.list()).includes(key.split('_')[2]!));
});

test('a key whose use was just written is known while the database is away', async (t) => {
  const { table, time } = await store(t);
  let isAway = false;
  const away = async () => {
    throw new LorikeetError('storage_unavailable');
  };
  const find = (prefix: string) => (isAway ? away() : table.find(prefix));
  const keys = keyStore({ ...table, find }, { now: () => time.now, monotonic: () => time.now });
  const { key } = await keys.create(asked);
  time.now = 100_000;
  await keys.verify(key, '10.0.0.1');
  await keys.flush();
  isAway = true;
  time.now += 5000;
  const known = await keys.verify(key, '10.0.0.2');
  assert.deepEqual([known?.lastUsedAt, known?.lastIp], [100_000, '10.0.0.1']);
});

test('a wrong secret, an unknown prefix and any other text are all the same no', async (t) => {
  const { keys } = await store(t);
  const { key } = await keys.create(asked);
  const other = (await keys.create(asked)).key;
  const mixed = `lk_${key.split('_')[1]}_${other.split('_')[2]}`;
  for (const text of [
    mixed,
    key.replace(/_.{12}_/, '_000000000000_'),
    `${key}0`,
    key.toUpperCase(),
    '',
    'lk__',
    "' or 1=1",
  ]) {
    assert.equal(await keys.verify(text), null, text);
  }
});

test('a revoked key is refused; revoking again, or nothing, says so', async (t) => {
  const { keys, time } = await store(t);
  const { key, record } = await keys.create(asked);
  time.now = 2000;
  assert.equal(await keys.revoke(record.prefix), true);
  assert.equal(await keys.verify(key), null);
  assert.equal(await keys.revoke(record.prefix), false);
  assert.equal(await keys.revoke('nothing'), false);
  assert.equal((await keys.list())[0]?.revokedAt, 2000);
});

test('the last use is noted to the minute', async (t) => {
  const { keys, time } = await store(t);
  const { key } = await keys.create(asked);
  const lastUse = async () => (await keys.list())[0]?.lastUsedAt;
  time.now = 100_000;
  await keys.verify(key);
  assert.equal(await lastUse(), 100_000);
  time.now = 159_999;
  await keys.verify(key);
  assert.equal(await lastUse(), 100_000);
  time.now = 160_000;
  await keys.verify(key);
  assert.equal(await lastUse(), 160_000);
});

test('any: false before the first key, true for ever after', async (t) => {
  const { keys } = await store(t);
  assert.equal(await keys.any(), false);
  const { record } = await keys.create(asked);
  await keys.revoke(record.prefix);
  assert.equal(await keys.any(), true);
});

test('keys are listed in the order they were made', async (t) => {
  const { keys, time } = await store(t);
  for (const name of ['c', 'a', 'b']) {
    time.now++;
    await keys.create({ ...asked, name });
  }
  assert.deepEqual(
    (await keys.list()).map(({ name }) => name),
    ['c', 'a', 'b'],
  );
});
