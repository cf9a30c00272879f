// Callers who are refused before any key is checked: pages of other origins and proxies on a server without keys, and
// callers who try many keys.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import { testApp } from '../helpers/app.ts';

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD';

test('without keys no route answers a page of others, nor who comes through a proxy', async (t) => {
  const { app, engine } = await testApp(t);
  const { paths } = (await app.inject('/openapi.json')).json();
  const strangers: Record<string, string>[] = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'x-forwarded-for': '203.0.113.9' },
    { forwarded: 'for=203.0.113.9' },
    { via: '1.1 proxy' },
    { host: 'evil.example' },
  ];
  let asks = 0;
  for (const [path, methods] of Object.entries(paths as Record<string, object>)) {
    for (const method of Object.keys(methods)) {
      for (const headers of strangers) {
        const url = path.replaceAll(/\{[^}]+\}/g, 'x');
        const answer = await app.inject({ method: method.toUpperCase() as Method, url, headers });
        assert.equal(answer.statusCode, 403, `${method} ${path} ${JSON.stringify(headers)}`);
        asks++;
      }
    }
  }
  assert.equal(engine.submitted.length, 0);
  const own = { origin: 'http://localhost:8080', host: 'localhost:8080', 'sec-fetch-site': 'same-origin' };
  assert.equal((await app.inject({ url: '/v1/models', headers: own })).statusCode, 200);
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
  assert.equal((await app.inject({ url: '/livez', headers: link })).statusCode, 200, 'a link may be followed');
  assert.equal((await app.inject({ url: '/v1/models', headers: link })).statusCode, 403);
  t.diagnostic(`${asks} requests`);
});

test('with keys a page or a proxy is as good as its key', async (t) => {
  const { app } = await testApp(t, { deps: { adminKey: 'right' } });
  const headers = { authorization: 'Bearer right', origin: 'https://app.example', 'x-forwarded-for': '203.0.113.9' };
  assert.equal((await app.inject({ url: '/v1/models', headers })).statusCode, 200);
});

test('keys cannot be tried out; whose key is known is not locked out by others behind the address', async (t) => {
  const testing = await testApp(t, { deps: { limits: { ...limits, authAttempts: 3 } } });
  const { key } = await testing.keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const { key: unused } = await testing.keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const statusOf = async (bearer: string) =>
    (await testing.app.inject({ url: '/v1/models', headers: { authorization: `Bearer ${bearer}` } })).statusCode;
  assert.equal(await statusOf(key), 200);
  const wrong = `${key.slice(0, -1)}${key.endsWith('0') ? 1 : 0}`;
  assert.deepEqual([await statusOf(wrong), await statusOf('x'), await statusOf(wrong)], [401, 401, 401]);
  assert.deepEqual([await statusOf(wrong), await statusOf(unused)], [429, 429]);
  assert.equal(await statusOf(key), 200);
});

test('behind a trusted proxy the log and the limits know the caller', async (t) => {
  const { app, log, keys } = await testApp(t, { deps: { trustedProxies: ['127.0.0.1'] } });
  const { key, record } = await keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const headers = { authorization: `Bearer ${key}`, 'x-forwarded-for': '203.0.113.9' };
  await app.inject({ url: '/v1/models', headers });
  const line = log.findLast(({ msg }) => msg === 'request')!;
  assert.deepEqual([line.ip, line.keyPrefix], ['203.0.113.9', record.prefix]);
  assert.equal((await keys.find(record.prefix))?.lastIp, '203.0.113.9');
});

test('answers say that they are data; the documentation works without TLS, and can be switched off', async (t) => {
  const { app } = await testApp(t);
  const { headers } = await app.inject('/v1/models');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.match(String(headers['content-security-policy']), /default-src 'none'/);
  const docs = await app.inject('/docs');
  assert.equal(docs.statusCode, 200);
  const policy = String(docs.headers['content-security-policy']);
  assert.match(policy, /script-src/);
  assert.doesNotMatch(policy, /upgrade-insecure-requests/);
  const closed = await testApp(t, { deps: { hasDocs: false } });
  for (const url of ['/docs', '/openapi.json', '/docs/json']) {
    assert.equal((await closed.app.inject(url)).statusCode, 404, url);
  }
});

test('/readyz says what is degraded, and goes on saying yes', async (t) => {
  const { app } = await testApp(t, { deps: { storage: { problem: () => 'storage_full' } } });
  const answer = await app.inject('/readyz');
  assert.deepEqual(
    [answer.statusCode, answer.json().status, answer.json().reasons],
    [200, 'degraded', ['storage_full']],
  );
});

test('a request with an Idempotency-Key is done once, and its answer given again', async (t) => {
  const testing = await testApp(t, { trainer: { stepMs: null } });
  const { id: training_file } = await testing.training.file();
  const post = (key: string, payload: object = { training_file }) =>
    testing.post('/v1/fine_tuning/jobs', payload, { 'idempotency-key': key });
  const [first, second] = [await post('k'), await post('k')];
  assert.equal(first.body, second.body);
  assert.deepEqual([first.headers['idempotent-replayed'], second.headers['idempotent-replayed']], [undefined, 'true']);
  assert.notEqual((await post('other')).json().id, first.json().id);
  assert.equal((await post('k', { training_file, seed: 3 })).json().error.code, 'idempotency_conflict');
  const refused = [await post('bad', { training_file: 'none' }), await post('bad', { training_file: 'none' })];
  assert.deepEqual(
    refused.map(({ statusCode }) => statusCode),
    [404, 404],
  );
  const kept = await testing.database.selectFrom('kept_answers').select('idempotency_key').execute();
  assert.deepEqual(kept.map((row) => row.idempotency_key).sort(), ['k', 'other'], 'a refusal takes no room');
  const jobs = (await testing.app.inject('/v1/fine_tuning/jobs')).json().data;
  assert.equal(jobs.length, 2);
  const log = await testing.audit.read({
    ...{ tenant: null, actor: null, action: 'jobs.create', since: null, until: null, before: null, limit: 10 },
  });
  assert.equal(log.length, 2, 'an answer that is given again is no change');
});
