// What every table's queries promise, on whichever database the tests run: SQLite by default, and PostgreSQL under
// `npm run test:servers`.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { adapterTable } from '../../src/storage/adapter-table.ts';
import { aliasTable } from '../../src/storage/alias-table.ts';
import { auditTable } from '../../src/storage/audit-table.ts';
import type { Database } from '../../src/storage/database.ts';
import { fileTable } from '../../src/storage/file-table.ts';
import { jobEventTable } from '../../src/storage/job-event-table.ts';
import { jobTable } from '../../src/storage/job-table.ts';
import { keptAnswerTable } from '../../src/storage/kept-answer-table.ts';
import { keyTable } from '../../src/storage/key-table.ts';
import { mergeTable } from '../../src/storage/merge-table.ts';
import { rateTable } from '../../src/storage/rate-table.ts';
import type { AdapterRow, KeyRow } from '../../src/storage/tables.ts';
import { tenantTable } from '../../src/storage/tenant-table.ts';
import { usageTable } from '../../src/storage/usage-table.ts';
import { newDatabase } from '../helpers/test-database.ts';

/** Beyond 32 bits, as times and sizes are. */
const now = 1_800_000_000_123;

async function open(t: TestContext): Promise<Database> {
  const database = await newDatabase();
  t.after(() => database.destroy());
  return database;
}

const version = (name: string, digest = 'sha256:x'): Omit<AdapterRow, 'version'> => ({
  ...{ tenant: 't', name, digest, base_digest: 'sha256:b', base_name: 'b', r: 8, target_modules: 'q v' },
  ...{ parameters: 5e9, bytes: 2 ** 40, created_at: now, created_by: null, source: 'upload', state: 'ready' },
  warnings: '[]',
});

const key = (prefix: string): KeyRow => ({
  ...{ prefix, secret_hash: 'h', tenant: 't', name: '', scopes: 'generate', created_at: now, last_used_at: null },
  ...{ revoked_at: null, expires_at: null, replaced_by: null, last_ip: null, adapters: null, quota: null },
  created_by: null,
});

test('versions are counted by name, and never a number twice', async (t) => {
  const table = adapterTable(await open(t));
  assert.deepEqual([await table.insert(version('n'), '{"a":1}'), await table.insert(version('n'), null)], [1, 2]);
  assert.equal(await table.training('t', 'n', 1), '{"a":1}');
  assert.equal(await table.training('t', 'n', 2), undefined);
  await table.delete('t', 'n', 2);
  assert.equal(await table.insert(version('n'), null), 3);
  const rows = await table.all();
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [
      { ...version('n'), version: 1 },
      { ...version('n'), version: 3 },
    ],
  );
});

test('versions that are made at once have numbers of their own', async (t) => {
  const table = adapterTable(await open(t));
  const numbers = await Promise.all(Array.from({ length: 20 }, () => table.insert(version('n'), null)));
  assert.deepEqual(
    numbers.toSorted((a, b) => a - b),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
});

test('names go by their bytes, in pages', async (t) => {
  const table = adapterTable(await open(t));
  for (const name of ['b/c', 'Z', 'a', 'b-c', 'B', 'b']) await table.insert(version(name), null);
  assert.deepEqual(await table.names('t', '', 4), ['B', 'Z', 'a', 'b']);
  assert.deepEqual(await table.names('t', 'b', 4), ['b-c', 'b/c']);
});

test('a state changes for all versions of a content', async (t) => {
  const table = adapterTable(await open(t));
  for (const name of ['a', 'b']) await table.insert(version(name, 'sha256:1'), null);
  await table.insert(version('c', 'sha256:2'), null);
  await table.setState('sha256:1', 'ready', 'corrupt');
  await table.beginDeletion('t', 'c', 1);
  assert.deepEqual(
    (await table.all()).map(({ state }) => state),
    ['corrupt', 'corrupt', 'deleting'],
  );
});

test('an alias moves with a revision that only grows, and holds its versions', async (t) => {
  const database = await open(t);
  const [adapters, aliases] = [adapterTable(database), aliasTable(database)];
  for (let i = 0; i < 2; i++) await adapters.insert(version('n'), null);
  const alias = { tenant: 't', name: 'n', alias: 'prod', updated_at: now };
  const halves = [
    { version: 1, weight: 0.1 },
    { version: 2, weight: 0.9 },
  ];
  assert.equal(await aliases.set(alias, halves), 1);
  assert.deepEqual(
    (await aliases.all()).map((one) => ({ ...one })),
    [{ ...alias, revision: 1, targets: halves }],
  );
  await assert.rejects(adapters.delete('t', 'n', 1));
  assert.equal(await aliases.set(alias, [{ version: 2, weight: 1 }]), 2);
  await adapters.delete('t', 'n', 1);
  await aliases.delete('t', 'n', 'prod');
  assert.equal(await aliases.set(alias, [{ version: 2, weight: 1 }]), 3);
  await adapters.beginDeletionOfName('t', 'n');
  assert.deepEqual(await aliases.all(), []);
  await assert.rejects(aliases.set({ ...alias, name: 'none' }, halves));
});

test('keys: found, changed, revoked once, and touched in one write', async (t) => {
  const table = keyTable(await open(t));
  assert.equal(await table.any(), false);
  for (const prefix of ['b', 'a']) await table.insert(key(prefix));
  await assert.rejects(table.insert(key('a')));
  assert.deepEqual({ ...(await table.find('a')) }, key('a'));
  assert.equal(await table.change('a', { scopes: 'train' }), true);
  assert.equal(await table.rotate('a', { expires_at: now }, key('c')), true);
  assert.equal(await table.revoke('b', now), true);
  assert.equal(await table.revoke('b', now), false);
  assert.equal(await table.change('b', { scopes: 'train' }), false);
  await table.touch([{ prefix: 'c', at: now + 1, ip: '::1' }]);
  const page = await table.page({ tenant: 't', after: 'a', limit: 5 });
  assert.deepEqual(
    page.map(({ prefix, revoked_at, last_used_at, last_ip }) => [prefix, revoked_at, last_used_at, last_ip]),
    [
      ['b', now, null, null],
      ['c', null, now + 1, '::1'],
    ],
  );
  assert.deepEqual([await table.any(), await table.tenants()], [true, ['t']]);
});

test('tenants, merges and levels are replaced where they are', async (t) => {
  const database = await open(t);
  const tenant = { name: 't', created_at: now, disabled_at: null, quota: null };
  const tenants = tenantTable(database);
  await tenants.save(tenant);
  await tenants.save({ ...tenant, disabled_at: now });
  assert.deepEqual(
    (await tenants.all()).map((row) => ({ ...row })),
    [{ ...tenant, disabled_at: now }],
  );
  const merges = mergeTable(database);
  const merge = {
    ...{ tenant: 't', merge_key: 'k', adapters: '[]', bits: null, state: 'wanted', error_code: null },
    ...{ error_message: null, automatic: 0, created_at: now, created_by: null, figures: null },
  };
  await merges.save(merge);
  await merges.save({ ...merge, state: 'failed' });
  assert.deepEqual(
    (await merges.all()).map(({ state }) => state),
    ['failed'],
  );
  await merges.delete('t', 'k');
  assert.deepEqual(await merges.all(), []);
  const rates = rateTable(database);
  await rates.save([{ id: 'r', level: 0.5, at: now }]);
  await rates.save([{ id: 'r', level: -0.25, at: now + 1 }]);
  assert.deepEqual({ ...(await rates.all())[0] }, { id: 'r', level: -0.25, at: now + 1 });
});

test('usage is added to, whoever writes at the same time', async (t) => {
  const table = usageTable(await open(t));
  const counts = { requests: 1, prompt_tokens: 3e9, cached_tokens: 0, completion_tokens: 5, trained_tokens: 7 };
  const row = (adapter: string) => ({ tenant: 't', minute: 30_000_000, adapter, ...counts });
  const [there, back] = [
    [row('a'), row('b')],
    [row('b'), row('a')],
  ];
  await Promise.all(Array.from({ length: 20 }, (_, i) => table.add(i % 2 === 0 ? there : back)));
  const rows = await table.list('t', { from: 0, to: 40_000_000, after: null, limit: 10 });
  assert.deepEqual(
    rows.map(({ adapter, requests, prompt_tokens }) => [adapter, requests, prompt_tokens]),
    [
      ['a', 20, 6e10],
      ['b', 20, 6e10],
    ],
  );
  assert.equal(await table.trainedSince('t', 0), 280);
  assert.equal(await table.trainedSince('nobody', 0), 0);
});

test('files: one row an id, pages both ways, sums', async (t) => {
  const table = fileTable(await open(t));
  const file = (id: string) => ({
    ...{ id, tenant: 't', created_at: now, created_by: null, filename: 'x', purpose: 'fine-tune' },
    ...{ bytes: 3e9, digest: `sha256:${id}`, rows: 1 },
  });
  for (const id of ['c', 'a', 'b']) await table.insert(file(id));
  const again = await table.insert({ ...file('a'), filename: 'y' });
  assert.equal(again.filename, 'x');
  const ids = async (after: string | null, newestFirst: boolean) =>
    (await table.list('t', null, { after, limit: 2, newestFirst })).map(({ id }) => id);
  assert.deepEqual(
    [await ids(null, true), await ids('a', true), await ids('c', false)],
    [['b', 'a'], ['c'], ['a', 'b']],
  );
  assert.deepEqual({ ...(await table.kept('t')) }, { count: 3, bytes: 9e9 });
  assert.deepEqual({ ...(await table.kept('nobody')) }, { count: 0, bytes: 0 });
  await table.delete('a');
  assert.deepEqual([await table.isUsed('sha256:a'), await table.isUsed('sha256:b')], [false, true]);
  assert.deepEqual([...(await table.digests())].sort(), ['sha256:b', 'sha256:c']);
});

test('jobs change from the states that they are in; events are numbered in order', async (t) => {
  const database = await open(t);
  const [jobs, events] = [jobTable(database), jobEventTable(database)];
  const job = (id: string) => ({
    ...{ id, tenant: 't', state: 'queued', created_at: now, queued_at: now, started_at: null, finished_at: null },
    ...{ training_file: 'f', validation_file: null, spec: '{}', progress: '{}', outcome: null, adapter: null },
    error: null,
  });
  for (const id of ['1', '2', '3']) await jobs.insert(job(id));
  const took = await Promise.all(
    [1, 2, 3].map((at) => jobs.change('1', ['queued'], { state: 'running', started_at: at })),
  );
  assert.equal(took.filter(Boolean).length, 1);
  assert.deepEqual([...(await jobs.countByState())].sort(), [
    ['queued', 2],
    ['running', 1],
  ]);
  assert.equal((await jobs.lastStarts()).size, 1);
  assert.deepEqual(
    (await jobs.inStates(['queued'])).map(({ id }) => id),
    ['2', '3'],
  );
  const event = (step: number | null) => ({
    ...{ job: '1', created_at: now, level: 'info', message: 'm', step, data: step === null ? null : '{"loss":0.1}' },
  });
  await events.append('1', [event(null), event(1)], '{"step":1}');
  await events.append('1', [event(2)], null);
  assert.deepEqual(
    (await events.after('1', 0, 10)).map(({ seq }) => seq),
    [1, 2, 3],
  );
  assert.equal(await events.dataAt('1', 2), '{"loss":0.1}');
  await events.addCheckpoint({
    job: '1',
    step: 2,
    created_at: now,
    train_loss: 0.123456789012,
    valid_loss: null,
    adapter: 'x',
  });
  assert.equal((await events.checkpoints('1', 9, 3))[0]!.train_loss, 0.123456789012);
  await events.rewind('1', 1);
  assert.deepEqual(
    (await events.before('1', 9, 10)).map(({ seq }) => seq),
    [2, 1],
  );
  await jobs.change('2', ['queued'], { state: 'failed' });
  await jobs.change('3', ['queued'], { state: 'failed' });
  await jobs.prune('t', ['failed'], 1);
  assert.deepEqual(
    (await jobs.list('t', { after: null, limit: 10 })).map(({ id }) => id),
    ['3', '1'],
  );
  assert.equal((await jobs.using('f', ['running']))?.id, '1');
});

test('an answer is begun once, however many ask at the same time', async (t) => {
  const table = keptAnswerTable(await open(t));
  const asked = { tenant: 't', idempotency_key: 'k', request: 'r', created_at: now };
  const begun = await Promise.all(Array.from({ length: 10 }, () => table.begin(asked, 0)));
  assert.equal(begun.filter((there) => there === null).length, 1);
  await table.finish(asked, { status: 200, headers: '{}', body: 'b' });
  assert.equal((await table.begin(asked, 0))?.body, 'b');
  assert.equal(await table.begin({ ...asked, created_at: now + 10 }, now + 5), null);
});

test('the audit log is read newest first', async (t) => {
  const table = auditTable(await open(t));
  const row = (action: string) => ({
    ...{ at: now, tenant: 't', actor: 'a', ip: null, request_id: null, action, target: 'x' },
    ...{ before: null, after: null },
  });
  for (const action of ['one', 'two']) await table.insert(row(action));
  const any = { tenant: null, actor: null, action: null, since: null, until: null, before: null };
  assert.deepEqual(
    (await table.find({ ...any, limit: 5 })).map(({ action, seq }) => [action, seq]),
    [
      ['two', 2],
      ['one', 1],
    ],
  );
});
