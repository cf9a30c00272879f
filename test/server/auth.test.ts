import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import type { AppDeps } from '../../src/server/deps.ts';
import { isLoopback } from '../../src/server/http/loopback.ts';
import { scopes } from '../../src/tenants/scopes.ts';
import { type TestApp, type TestAppOptions, testApp } from '../helpers/app.ts';

type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Every route by the app's own description, so that a new one cannot be forgotten here. */
async function routesOf({ app }: TestApp): Promise<{ method: Method; url: string; open: boolean }[]> {
  const { paths } = (await app.inject('/openapi.json')).json();
  return Object.entries(paths as Record<string, Record<string, { security?: [] }>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => ({
      method: method.toUpperCase() as Method,
      url: path.replaceAll(/\{[^}]+\}/g, 'x'),
      open: security?.length === 0,
    })),
  );
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

async function keyed(t: TestContext, adminKey: string | null = null, deps: Partial<AppDeps> = {}) {
  const testing = await testApp(t, { deps: { adminKey, ...deps } });
  const make = async (...scope: (typeof scopes)[number][]) =>
    (await testing.keys.create({ tenant: 'a', name: 'n', scopes: scope })).key;
  return { ...testing, make };
}

test('every route: no key, a wrong key, a key of every other scope, the right key', async (t) => {
  // Each route is tried with a wrong key once, and these attempts must not reach the limit.
  const testing = await keyed(t, null, { limits: { ...limits, authAttempts: 1000 } });
  const { app, make } = testing;
  const routes = await routesOf(testing);
  assert.ok(routes.length >= 25, `only ${routes.length} routes`);
  const operator = await make('operator');
  const plain = scopes.filter((scope) => scope !== 'operator');
  const keys = Object.fromEntries(await Promise.all(plain.map(async (scope) => [scope, await make(scope)] as const)));
  const wrong = (await make('generate')).replace(/.$/, (last) => (last === '0' ? '1' : '0'));
  for (const { method, url, open } of routes) {
    const statusOf = async (headers: Record<string, string>) =>
      (await app.inject({ method, url, headers, ...(/^P/.test(method) ? { payload: {} } : {}) })).statusCode;
    if (open) {
      assert.equal(await statusOf({}), 200, `${method} ${url}`);
      continue;
    }
    assert.equal(await statusOf({}), 401, `${method} ${url} without a key`);
    assert.equal(await statusOf(bearer(wrong)), 401, `${method} ${url} with a wrong key`);
    const allowed = [];
    for (const scope of plain) if ((await statusOf(bearer(keys[scope]!))) !== 403) allowed.push(scope);
    const expected = url.startsWith('/v1/files') ? 2 : 1;
    assert.ok(allowed.length <= expected, `${method} ${url} is open to ${allowed}`);
    assert.ok(allowed.length === expected || url.startsWith('/v1/admin/'), `${method} ${url} is open to nobody`);
    assert.ok(![401, 403].includes(await statusOf(bearer(operator))), `${method} ${url} is closed to the operator`);
  }
});

test('a route without a scope stops the start', async (t) => {
  const extend: TestAppOptions['extend'] = (app) => void app.get('/open', async () => 'x');
  await assert.rejects(testApp(t, { extend }), /GET \/open declares no scope/);
});

test('a key works as a bearer token and as x-api-key; its tenant is in the log, itself is not', async (t) => {
  const { app, make, log } = await keyed(t);
  const key = await make('generate');
  assert.equal((await app.inject({ url: '/v1/models', headers: bearer(key) })).statusCode, 200);
  assert.equal((await app.inject({ url: '/v1/models', headers: { 'x-api-key': key } })).statusCode, 200);
  assert.equal((await app.inject({ url: '/v1/models', headers: { authorization: `Basic ${key}` } })).statusCode, 401);
  assert.equal(log.at(-2)?.tenant, 'a');
  assert.ok(!JSON.stringify(log).includes(key.split('_')[2]!));
});

test('a revoked key is refused at once, and the server stays closed', async (t) => {
  const { app, keys, make } = await keyed(t);
  const key = await make('generate');
  await keys.revoke(key.split('_')[1]!);
  const answer = await app.inject({ url: '/v1/models', headers: bearer(key) });
  assert.equal(answer.json().error.code, 'invalid_api_key');
  assert.equal((await app.inject('/v1/models')).statusCode, 401);
});

test('the first key closes a server that is running', async (t) => {
  const { app, make } = await keyed(t);
  assert.equal((await app.inject('/v1/models')).statusCode, 200);
  await make('admin');
  assert.equal((await app.inject('/v1/models')).statusCode, 401);
});

test('the admin key has every scope and closes the server by itself', async (t) => {
  const { app } = await keyed(t, 'the-admin-key');
  assert.equal((await app.inject('/v1/models')).statusCode, 401);
  for (const url of ['/v1/models', '/metrics']) {
    assert.equal((await app.inject({ url, headers: bearer('the-admin-key') })).statusCode, 200);
    assert.equal((await app.inject({ url, headers: bearer('the-admin-kez') })).statusCode, 401);
  }
});

test('without keys only loopback names are answered, against rebound names of web pages', async (t) => {
  const { app } = await testApp(t);
  const statusOf = async (host: string) => (await app.inject({ url: '/v1/models', headers: { host } })).statusCode;
  for (const host of ['localhost:8080', '127.0.0.1', 'app.localhost', '[::1]:8080'])
    assert.equal(await statusOf(host), 200, host);
  for (const host of ['example.com', '127.0.0.1.example.com', '10.0.0.1:8080'])
    assert.equal(await statusOf(host), 403, host);
});

test('loopback is this machine alone', () => {
  assert.ok(isLoopback('127.1.2.3'));
  assert.ok(!isLoopback('localhost.example.com'));
  assert.ok(!isLoopback('0.0.0.0'));
});
