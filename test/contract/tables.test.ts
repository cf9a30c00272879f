// What every table's queries promise, on whichever database the tests run: SQLite by default, and PostgreSQL under
// `npm run test:servers`.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { adapterTable } from '../../src/storage/adapter-table.ts';
import { aliasTable } from '../../src/storage/alias-table.ts';
import { auditTable } from '../../src/storage/audit-table.ts';
import { batchTable } from '../../src/storage/batch-table.ts';
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
  ...{
    tenant: 't',
    name,
    digest,
    base_digest: 'sha256:b',
    base_name: 'b',
    r: 8,
    target_modules: 'q v',
    virtual_tokens: 0,
  },
  ...{ parameters: 5e9, bytes: 2 ** 40, created_at: now, created_by: null, source: 'upload', state: 'ready' },
  ...{ warnings: '[]', template_digest: null },
});

const key = (prefix: string): KeyRow => ({
  ...{ prefix, secret_hash: 'h', tenant: 't', name: '', scopes: 'generate', created_at: now, last_used_at: null },
  ...{ revoked_at: null, expires_at: null, replaced_by: null, last_ip: null, adapters: null, quota: null },
  created_by: null,
});

const insert = (database: Database, row: Omit<AdapterRow, 'version'>, training: string | null = null) =>
  database.transaction().execute((transaction) => adapterTable(transaction).insert(row, { training }));

test('versions are counted by name, and never a number twice', async (t) => {
  const database = await open(t);
  const table = adapterTable(database);
  assert.deepEqual([await insert(database, version('n'), '{"a":1}'), await insert(database, version('n'))], [1, 2]);
  assert.equal(await table.training('t', 'n', 1), '{"a":1}');
  assert.equal(await table.training('t', 'n', 2), undefined);
  await table.delete({ tenant: 't', name: 'n', version: 2 });
  assert.equal(await insert(database, version('n')), 3);
  const rows = await table.ofName('t', 'n');
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [
      { ...version('n'), version: 1 },
      { ...version('n'), version: 3 },
    ],
  );
});

test('versions that are made at once have numbers of their own', async (t) => {
  const database = await open(t);
  const numbers = await Promise.all(Array.from({ length: 20 }, () => insert(database, version('n'))));
  assert.deepEqual(
    numbers.toSorted((a, b) => a - b),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
});

test('names go by their bytes, in pages, each as the version that it means', async (t) => {
  const database = await open(t);
  const table = adapterTable(database);
  for (const name of ['b/c', 'Z', 'a', 'b-c', 'B', 'b']) await insert(database, version(name));
  await insert(database, { ...version('A'), tenant: 'u' });
  const page = async (tenant: string | null, after: { tenant: string; name: string } | null, limit: number) =>
    (await table.newest({ tenant, after, limit }, 'sha256:b')).map((row) => `${row.tenant} ${row.name}@${row.version}`);
  assert.deepEqual(await page('t', null, 4), ['t B@1', 't Z@1', 't a@1', 't b@1']);
  assert.deepEqual(await page('t', { tenant: 't', name: 'b' }, 4), ['t b-c@1', 't b/c@1']);
  assert.deepEqual(await page(null, { tenant: 't', name: 'b-c' }, 4), ['t b/c@1', 'u A@1']);
  assert.deepEqual(await page('u', { tenant: 't', name: 'b' }, 4), ['u A@1']);
  assert.deepEqual(await page('t', { tenant: 'u', name: 'A' }, 4), []);
  for (const row of [{ base_digest: 'sha256:c' }, {}, { base_digest: 'sha256:c' }]) {
    await insert(database, { ...version('Z', 'sha256:z'), ...row });
  }
  // The newest for this base, else the newest that is ready, else the newest.
  assert.deepEqual(await page('t', { tenant: 't', name: 'B' }, 1), ['t Z@3']);
  const change = (state: string, ...versions: number[]) =>
    database.updateTable('adapters').set({ state }).where('name', '=', 'Z').where('version', 'in', versions).execute();
  await change('corrupt', 1, 3);
  assert.deepEqual(await page('t', { tenant: 't', name: 'B' }, 1), ['t Z@4']);
  await change('deleting', 2, 4);
  assert.deepEqual(await page('t', { tenant: 't', name: 'B' }, 1), ['t Z@4']);
});

test('a state changes for all versions of a content, which are few to be found', async (t) => {
  const database = await open(t);
  const table = adapterTable(database);
  for (const name of ['b', 'a', 'a']) await insert(database, version(name, 'sha256:1'));
  await insert(database, version('c', 'sha256:2'));
  await insert(database, version('d', 'sha256:3'));
  const changed = await table.setState('sha256:1', 'ready', 'corrupt');
  assert.deepEqual(changed.map(({ name, version }) => `${name}@${version}`).sort(), ['a@1', 'a@2', 'b@1']);
  assert.deepEqual(await table.setState('sha256:1', 'ready', 'corrupt'), []);
  await table.beginDeletion('t', 'c', 1);
  const states = (rows: readonly AdapterRow[]) => rows.map((row) => `${row.name}@${row.version} ${row.state}`);
  const page = await table.notReady(null, 3);
  assert.deepEqual(states(page), ['a@1 corrupt', 'a@2 corrupt', 'b@1 corrupt']);
  assert.deepEqual(states(await table.notReady(page.at(-1)!, 3)), ['c@1 deleting']);
  assert.deepEqual([...(await table.known(['sha256:1', 'sha256:3', 'sha256:4']))].sort(), ['sha256:1', 'sha256:3']);
  assert.deepEqual(await table.digests('sha256:1', 9), ['sha256:2', 'sha256:3']);
  assert.deepEqual([await table.hasDigest('sha256:2'), await table.hasDigest('sha256:4')], [true, false]);
  const isShared = (name: string, digest: string) => table.isShared({ tenant: 't', name, version: 1, digest });
  assert.deepEqual([await isShared('a', 'sha256:1'), await isShared('c', 'sha256:2')], [true, false]);
});

test('what a tenant keeps, and of that what one key brought', async (t) => {
  const database = await open(t);
  const table = adapterTable(database);
  assert.deepEqual(await table.kept('t'), { count: 0, bytes: 0 });
  for (const created_by of [null, 'k', 'k']) await insert(database, { ...version('n'), created_by, bytes: 2 ** 40 });
  assert.deepEqual(await table.kept('t'), { count: 3, bytes: 3 * 2 ** 40 });
  assert.deepEqual(await table.kept('t', 'k'), { count: 2, bytes: 2 ** 41 });
  assert.deepEqual(await table.kept('t', null), { count: 1, bytes: 2 ** 40 });
  assert.deepEqual(await table.kept('u'), { count: 0, bytes: 0 });
});

test('an alias moves with a revision that only grows, and holds its versions', async (t) => {
  const database = await open(t);
  const [adapters, aliases] = [adapterTable(database), aliasTable(database)];
  for (let i = 0; i < 2; i++) await insert(database, version('n'));
  const alias = { tenant: 't', name: 'n', alias: 'prod', updated_at: now };
  const set = (change: typeof alias, targets: { version: number; weight: number }[]) =>
    database.transaction().execute((transaction) => aliasTable(transaction).set(change, targets));
  const halves = [
    { version: 1, weight: 0.1 },
    { version: 2, weight: 0.9 },
  ];
  assert.equal(await set(alias, halves), 1);
  assert.deepEqual(await aliases.ofNames('t', ['n', 'm']), [{ ...alias, revision: 1, targets: halves }]);
  await assert.rejects(adapters.delete({ tenant: 't', name: 'n', version: 1 }));
  assert.equal(await set(alias, [{ version: 2, weight: 1 }]), 2);
  await adapters.delete({ tenant: 't', name: 'n', version: 1 });
  await aliases.delete('t', 'n', 'prod');
  assert.equal(await set(alias, [{ version: 2, weight: 1 }]), 3);
  await aliases.deleteAll('t', 'n');
  assert.deepEqual(await aliases.ofNames('t', ['n']), []);
  await assert.rejects(set({ ...alias, name: 'none' }, halves));
});

test('keys: found, changed, revoked once, and touched in one write', async (t) => {
  const table = keyTable(await open(t));
  assert.equal(await table.any(), false);
  for (const prefix of ['b', 'a']) await table.insert(key(prefix));
  await assert.rejects(table.insert(key('a')));
  assert.deepEqual({ ...(await table.find('a')) }, key('a'));
  const isThere = (seq: number | null) => seq !== null;
  assert.equal(isThere(await table.change('a', { scopes: 'train' })), true);
  assert.equal(isThere(await table.rotate('a', { expires_at: now }, key('c'))), true);
  assert.equal(isThere(await table.change('b', { revoked_at: now })), true);
  assert.equal(await table.change('b', { revoked_at: now }), null);
  assert.equal(await table.change('b', { scopes: 'train' }), null);
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
  await tenants.change('t', () => tenant);
  await tenants.change('t', (before) => ({ ...before!, disabled_at: now }));
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
    (await table.list('t', ['fine-tune'], { after, limit: 2, newestFirst })).map(({ id }) => id);
  assert.deepEqual(
    [await ids(null, true), await ids('a', true), await ids('c', false)],
    [['b', 'a'], ['c'], ['a', 'b']],
  );
  assert.deepEqual(await table.list('t', [], { after: null, limit: 9, newestFirst: true }), []);
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

test('a line of a batch is answered and counted once, however often', async (t) => {
  const database = await open(t);
  const table = batchTable(database);
  const times = JSON.stringify({ validating: now });
  const batch = (id: string) => ({
    ...{ id, tenant: 't', created_by: null, state: 'in_progress', endpoint: '/v1/x', input_file: 'f' },
    ...{ input_digest: 'sha256:x', metadata: null, times, expires_at: now, total: 3 },
    ...{ output_file: null, error_file: null, errors: null },
  });
  for (const id of ['a', 'b', 'c']) await table.insert(batch(id));
  const line = (number: number, is_error: number) => ({ batch: 'a', line: number, is_error, body: `{"n":${number}}` });
  await Promise.all([line(1, 0), line(1, 0), line(2, 1), line(30, 0)].map(table.answer));
  const { completed, failed, expires_at } = (await table.find('t', 'a'))!;
  assert.deepEqual([completed, failed, expires_at], [2, 1, now]);
  assert.deepEqual(await table.answeredLines('a'), new Set([1, 2, 30]));
  const lines = async (isError: boolean, after: number) =>
    (await table.answers('a', isError, after, 10)).map((answer) => answer.line);
  assert.deepEqual([await lines(false, 0), await lines(false, 1), await lines(true, 0)], [[1, 30], [30], [2]]);
  assert.equal(await table.find('other', 'a'), undefined);
  const page = await table.list('t', { after: 'c', limit: 1 });
  assert.deepEqual(
    page.map(({ id }) => id),
    ['b'],
  );
  assert.equal((await table.using('f', ['in_progress']))?.id !== undefined, true);
  // One of two concurrent callers changes it, whichever comes first.
  const changed = await Promise.all([1, 2].map(() => table.change('a', ['in_progress'], { state: 'completed' })));
  assert.deepEqual(changed.toSorted(), [false, true]);
  await table.prune('t', ['completed'], 0);
  assert.deepEqual([await table.find('t', 'a'), (await table.answeredLines('a')).size], [undefined, 0]);
});

test('an answer is begun once, however many ask at the same time', async (t) => {
  const table = keptAnswerTable(await open(t));
  const asked = { tenant: 't', idempotency_key: 'k', request: 'r', created_at: now, owner: 'o' };
  const begun = await Promise.all(Array.from({ length: 10 }, () => table.begin(asked, 0)));
  assert.equal(begun.filter((there) => there === null).length, 1);
  await table.finish(asked, { status: 200, headers: '{}', body: 'b' });
  assert.equal((await table.begin(asked, 0))?.body, 'b');
  assert.equal(await table.begin({ ...asked, created_at: now + 10 }, now + 5), null);
  await table.forgetUnfinished(new Set(['o', 'p']));
  assert.notEqual(await table.begin(asked, 0), null);
  // Its server is no more.
  await table.forgetUnfinished(new Set(['p']));
  assert.equal(await table.begin(asked, 0), null);
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
