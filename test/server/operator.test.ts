// The operator's routes: keys over HTTP, tenants, acting for a tenant, and the audit log of all changes.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { type TestAppOptions, testApp } from '../helpers/app.ts';
import { rowsText } from '../helpers/test-jobs.ts';
import { waitFor } from '../helpers/waits.ts';
import { rowsForm } from './form.ts';

async function operated(t: TestContext, options: TestAppOptions = {}) {
  const time = { now: 1_700_000_000_000 };
  const clock = { now: () => time.now, monotonic: systemClock.monotonic };
  const testing = await testApp(t, { ...options, deps: { adminKey: 'the-admin-key', clock } });
  const ask = async (
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    url: string,
    payload?: object,
    key?: string,
  ) =>
    testing.app.inject({
      ...{ method, url, headers: { authorization: `Bearer ${key ?? 'the-admin-key'}` } },
      ...(payload === undefined ? {} : { payload }),
    });
  const create = async (body: object) => (await ask('POST', '/v1/admin/keys', body)).json();
  return { ...testing, ask, create, time };
}

const generates = async (
  { ask }: Pick<Awaited<ReturnType<typeof operated>>, 'ask'>,
  key: string,
  adapter_id?: string,
) => (await ask('POST', '/v1/generate', { prompt: 'x', max_tokens: 1, adapter_id }, key)).statusCode;

test('a key is made, shown once, listed, changed, and refused after its end', async (t) => {
  const testing = await operated(t);
  const { ask, create, time } = testing;
  const expires_at = time.now / 1000 + 3600;
  const made = await create({ tenant: 'a', scopes: ['generate'], name: 'ci', expires_at });
  assert.match(made.key, /^lk_/);
  assert.deepEqual(
    [made.tenant, made.scopes, made.expires_at, made.created_by],
    ['a', ['generate'], expires_at, 'admin'],
  );
  assert.equal(await generates(testing, made.key), 200);
  const one = (await ask('GET', `/v1/admin/keys/${made.id}`)).body;
  assert.ok(!one.includes(made.key.split('_')[2]));
  assert.equal((await ask('GET', '/v1/models', undefined, made.key)).statusCode, 200);
  const changed = await ask('PATCH', `/v1/admin/keys/${made.id}`, { scopes: ['metrics'], unset: ['expires_at'] });
  assert.deepEqual([changed.json().scopes, changed.json().expires_at], [['metrics'], null]);
  assert.equal(await generates(testing, made.key), 403, 'a change holds at once');
  const same = await ask('PATCH', `/v1/admin/keys/${made.id}`, {});
  assert.deepEqual([same.statusCode, same.json().scopes], [200, ['metrics']], 'nothing to change is no error');
  await ask('PATCH', `/v1/admin/keys/${made.id}`, { scopes: ['generate'], expires_at });
  time.now += 3_600_001;
  assert.equal(await generates(testing, made.key), 401);
});

test('a key that would have ended already is not made, nor is one changed to that', async (t) => {
  const { ask, create, time } = await operated(t);
  const expires_at = time.now / 1000 - 1;
  const refused = await ask('POST', '/v1/admin/keys', { tenant: 'a', scopes: ['generate'], expires_at });
  const { code, param } = refused.json().error;
  assert.deepEqual([refused.statusCode, code, param], [400, 'invalid_parameter', 'expires_at']);
  const { id } = await create({ tenant: 'a', scopes: ['generate'] });
  assert.equal((await ask('PATCH', `/v1/admin/keys/${id}`, { expires_at })).statusCode, 400);
  assert.equal((await ask('GET', `/v1/admin/keys/${id}`)).json().expires_at, null);
});

test('a rotated key works beside its successor for a while, and then no more', async (t) => {
  const testing = await operated(t);
  const { ask, create, time } = testing;
  const old = await create({ tenant: 'a', scopes: ['generate'], adapters: ['x'], quota: { requests_per_minute: 5 } });
  const next = (await ask('POST', `/v1/admin/keys/${old.id}/rotate`, { overlap_seconds: 60 })).json();
  assert.deepEqual([next.tenant, next.scopes, next.adapters, next.quota], ['a', ['generate'], ['x'], old.quota]);
  assert.deepEqual([await generates(testing, old.key), await generates(testing, next.key)], [200, 200]);
  assert.equal((await ask('GET', `/v1/admin/keys/${old.id}`)).json().replaced_by, next.id);
  time.now += 60_000;
  assert.deepEqual([await generates(testing, old.key), await generates(testing, next.key)], [401, 200]);
  assert.equal((await ask('POST', `/v1/admin/keys/${old.id}/rotate`, {})).statusCode, 404, 'it is over');
  assert.equal((await ask('DELETE', `/v1/admin/keys/${next.id}`)).statusCode, 200);
  assert.equal(await generates(testing, next.key), 401);
});

test('a key is bound to adapters by name or by what names begin with', async (t) => {
  const testing = await operated(t);
  for (const name of ['x', 'org/y', 'z']) await testing.registry.add(name, { tenant: 'a' });
  const { key } = await testing.create({
    ...{ tenant: 'a', scopes: ['generate', 'adapters', 'train'], adapters: ['x', 'org/*'] },
  });
  assert.deepEqual(
    await Promise.all(['x', 'org/y', 'z', undefined].map((name) => generates(testing, key, name))),
    [200, 200, 404, 200],
  );
  const models = (await testing.ask('GET', '/v1/models', undefined, key)).json().data;
  assert.deepEqual(
    models.map(({ id }: { id: string }) => id),
    ['tiny', 'org/y', 'x'],
  );
  assert.equal((await testing.ask('DELETE', '/v1/adapters/z', undefined, key)).statusCode, 404);
  assert.equal((await testing.ask('PUT', '/v1/adapters/z/aliases/p', { version: 1 }, key)).statusCode, 404);
  assert.equal((await testing.ask('DELETE', '/v1/models/z', undefined, key)).statusCode, 404);
});

test("a disabled tenant's keys are refused until it is enabled; its quota is kept", async (t) => {
  const testing = await operated(t);
  const { key } = await testing.create({ tenant: 'a', scopes: ['generate'] });
  const put = (body: object) => testing.ask('PUT', '/v1/admin/tenants/a', body);
  assert.equal((await put({ disabled: true, quota: { tokens_per_minute: 9 } })).statusCode, 200);
  assert.equal(await generates(testing, key), 401);
  await put({ disabled: false });
  assert.equal(await generates(testing, key), 200);
  const { data } = (await testing.ask('GET', '/v1/admin/tenants')).json();
  assert.deepEqual(
    data.map(({ id, quota }: { id: string; quota: object }) => [id, quota]),
    [['a', { tokens_per_minute: 9 }]],
  );
});

test('an operator acts for any tenant; nobody else does', async (t) => {
  const testing = await operated(t);
  await testing.registry.add('x', { tenant: 'a' });
  const as = (tenant: string, key = 'the-admin-key') =>
    testing.app.inject({
      ...{ method: 'DELETE', url: '/v1/adapters/x' },
      headers: { authorization: `Bearer ${key}`, 'x-lorikeet-tenant': tenant },
    });
  const { key } = await testing.create({ tenant: 'b', scopes: ['adapters', 'admin'] });
  assert.equal((await as('a', key)).json().error.code, 'insufficient_permissions');
  assert.equal((await as('b')).statusCode, 404);
  assert.equal((await as('not a name')).statusCode, 400);
  assert.equal((await as('a')).statusCode, 200);
});

test('lists over all tenants have pages', async (t) => {
  const testing = await operated(t);
  for (const [tenant, name] of [
    ['a', 'x'],
    ['a', 'y'],
    ['b', 'x'],
    ['c', 'q'],
  ] as const) {
    await testing.registry.add(name, { tenant });
  }
  const seen: string[] = [];
  for (let after: string | null = null; ; ) {
    const query: string = after === null ? '' : `&after=${encodeURIComponent(after)}`;
    type Page = { data: { tenant: string; name: string }[]; has_more: boolean; last_id: string };
    const page: Page = (await testing.ask('GET', `/v1/admin/adapters?limit=2${query}`)).json();
    seen.push(...page.data.map(({ tenant, name }) => `${tenant}:${name}`));
    if (!page.has_more) break;
    after = page.last_id;
  }
  assert.deepEqual(seen, ['a:x', 'a:y', 'b:x', 'c:q']);
  const jobs = await Promise.all(['a', 'b'].map((tenant) => testing.training.create({ tenant })));
  const { data } = (await testing.ask('GET', '/v1/admin/jobs')).json();
  assert.deepEqual(new Set(data.map(({ id }: { id: string }) => id)), new Set(jobs.map(({ id }) => id)));
  assert.equal((await testing.ask('GET', '/v1/admin/jobs?tenant=a')).json().data.length, 1);
});

test('every change is in the log: who, what, before and after, and never a secret', async (t) => {
  const testing = await operated(t);
  const { ask, create } = testing;
  const { key, id } = await create({ tenant: 'a', scopes: ['adapters', 'train'] });
  await testing.registry.add('x', { tenant: 'a' });
  await ask('PUT', '/v1/adapters/x/aliases/prod', { version: 1 }, key);
  await testing.registry.add('x', { tenant: 'a', content: 'second' });
  await ask('PUT', '/v1/adapters/x/aliases/prod', { version: 2 }, key);
  await ask('PUT', '/v1/adapters/x/aliases/prod', { version: 7 }, key);
  await ask('DELETE', '/v1/adapters/x/aliases/prod', undefined, key);
  await ask('DELETE', '/v1/adapters/x', undefined, key);
  const form = rowsForm(rowsText(2));
  const headers = { ...form.headers, authorization: `Bearer ${key}` };
  const file = (await testing.app.inject({ method: 'POST', url: '/v1/files', payload: form.payload, headers })).json();
  await ask('POST', '/v1/fine_tuning/jobs', { training_file: file.id }, key);
  const log = (await ask('GET', '/v1/admin/audit?limit=100')).json().data.reverse();
  assert.deepEqual(
    log.map(({ action, tenant, actor }: Record<string, string>) => [action, tenant, actor]),
    [
      ['keys.create', 'a', 'admin'],
      ...['aliases.set', 'aliases.set', 'aliases.delete', 'adapters.delete', 'files.create', 'jobs.create'].map(
        (action) => [action, 'a', id],
      ),
    ],
    'what was refused has changed nothing',
  );
  const moved = log[2];
  assert.deepEqual([moved.target, moved.before.targets[0].version, moved.after.targets[0].version], ['x:prod', 1, 2]);
  assert.equal(moved.ip, '127.0.0.1');
  assert.equal(log[4].before.length, 2);
  assert.ok(!JSON.stringify(log).includes(key.split('_')[2]));
  const some = (await ask('GET', '/v1/admin/audit?action=aliases.set&limit=1')).json();
  assert.deepEqual([some.data.length, some.has_more], [1, true]);
  const older = (await ask('GET', `/v1/admin/audit?action=aliases.set&limit=1&after=${some.last_id}`)).json();
  assert.deepEqual([older.data[0].id < some.data[0].id, older.has_more], [true, false]);
  assert.equal((await ask('GET', '/v1/admin/audit?tenant=b')).json().data.length, 0);
});

test('the row of a deletion or of an end says what was there, whatever route was asked', async (t) => {
  const { ask, app, registry, training } = await operated(t, { trainer: { stepMs: null } });
  for (const name of ['by-name', 'by-version', 'as-model', 'as-model-version', 'as-vllm']) await registry.add(name);
  const job = await training.create();
  const form = rowsForm(rowsText(2));
  const headers = { ...form.headers, authorization: 'Bearer the-admin-key' };
  const file = (await app.inject({ method: 'POST', url: '/v1/files', payload: form.payload, headers })).json();
  const before = { state: 'ready' };
  const cases: [...Parameters<typeof ask>, string, object][] = [
    ['DELETE', '/v1/adapters/by-name', undefined, undefined, 'by-name', [before]],
    ['DELETE', '/v1/adapters/by-version/versions/1', undefined, undefined, 'by-version@1', [before]],
    ['DELETE', '/v1/models/as-model', undefined, undefined, 'as-model', [before]],
    ['DELETE', '/v1/models/as-model-version@1', undefined, undefined, 'as-model-version@1', [before]],
    ['POST', '/v1/unload_lora_adapter', { lora_name: 'as-vllm' }, undefined, 'as-vllm', [before]],
    ['DELETE', `/v1/files/${file.id}`, undefined, undefined, file.id, { digest: file.digest }],
    ['POST', `/v1/fine_tuning/jobs/${job.id}/cancel`, undefined, undefined, job.id, {}],
  ];
  for (const [method, url, body, key, target, before] of cases) {
    const answer = await ask(method, url, body, key);
    assert.equal(answer.statusCode, 200, answer.body);
    const [row] = (await ask('GET', '/v1/admin/audit?limit=1')).json().data;
    assert.equal(row.target, target);
    assert.notEqual(row.before, null, url);
    assert.partialDeepStrictEqual(row.before, before);
  }
  const [{ before: status, after }] = (await ask('GET', '/v1/admin/audit?limit=1')).json().data;
  assert.match(status.status, /^(validating_files|queued|running)$/);
  assert.deepEqual(after, { status: 'cancelled' });
});

test('who may only train moves no alias and adds no version to names of others', async (t) => {
  const testing = await operated(t);
  const { key } = await testing.create({ tenant: 'a', scopes: ['train'] });
  const full = await testing.create({ tenant: 'a', scopes: ['train', 'adapters'] });
  await testing.registry.add('prod-bot', { tenant: 'a' });
  const { id: training_file } = await testing.training.file({ tenant: 'a' });
  const job = async (body: object, by: string) =>
    (await testing.ask('POST', '/v1/fine_tuning/jobs', { training_file, ...body }, by)).statusCode;
  assert.equal(await job({ suffix: 'prod-bot' }, key), 403);
  assert.equal(await job({ suffix: 'mine', alias: 'prod' }, key), 403);
  assert.equal(await job({ suffix: 'mine' }, key), 200);
  assert.equal(await job({ suffix: 'prod-bot', alias: 'prod' }, full.key), 200);
});

test('a name that was taken while a train key’s job ran is left to who took it', async (t) => {
  const { training, registry } = await operated(t, { trainer: { stepMs: null } });
  const { id } = await training.create({ tenant: 'a', suffix: 'mine', mayPublish: false, createdBy: 'k' });
  await registry.add('mine', { tenant: 'a', content: 'theirs' });
  const find = () => training.jobs.find('a', id);
  await waitFor('the job to end', async () => {
    training.trainer.step();
    return (await find()).finishedAt !== null;
  });
  assert.equal((await find()).adapter, `${id.replace('ftjob-', 'ft-')}@1`);
  assert.equal((await registry.versions('a', 'mine')).length, 1);
});
