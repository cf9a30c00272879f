// Sends every route of the server's own description with every kind of key: none, a wrong one, each scope, an expired
// and a revoked key, a disabled tenant's, a key bound to other adapters, another tenant's, the operator's. What belongs
// to another tenant must answer exactly as what does not exist.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import { type Scope, scopes } from '../../src/tenants/scopes.ts';
import { type TestApp, testApp } from '../helpers/app.ts';
import { newBatch } from '../helpers/test-batches.ts';

type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
type Operation = { readonly method: Method; readonly path: string; readonly isOpen: boolean };

async function operationsOf({ app }: TestApp): Promise<Operation[]> {
  const { paths } = (await app.inject('/openapi.json')).json();
  return Object.entries(paths as Record<string, Record<string, { security?: [] }>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => ({
      method: method.toUpperCase() as Method,
      path,
      isOpen: security?.length === 0,
    })),
  );
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** Values for the parameters of an address. */
type Names = Readonly<Record<string, string>>;

const nobodys: Names = {
  name: 'nobodys',
  model: 'nobodys',
  id: 'nobodys',
  version: '1',
  alias: 'prod',
  digest: `sha256:${'0'.repeat(64)}`,
};

/** A route's address. `id` is an adapter's, a file's, a job's or a batch's. */
function addressOf(path: string, names: NamesOfAll): string {
  const own = { '/v1/files': names.file, '/v1/fine_tuning': names.job, '/v1/batches': names.batch };
  const id = Object.entries(own).find(([begin]) => path.startsWith(begin))?.[1] ?? names.id!;
  const values: Record<string, string> = { ...names, id, prefix: '0123456789ab', tenant: 'nobody' };
  return path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? 'x'));
}

/** A body that is valid but for the names in it. */
function bodyOf(path: string, { name, file }: Names & { file: string }): object {
  const bodies: Record<string, object> = {
    '/v1/generate': { prompt: 'x', adapter_id: name, max_tokens: 1 },
    '/v1/completions': { prompt: 'x', model: name, max_tokens: 1 },
    '/v1/chat/completions': { messages: [{ role: 'user', content: 'x' }], model: name, max_tokens: 1 },
    '/v1/responses': { input: 'x', model: name, max_output_tokens: 16 },
    '/v1/responses/input_tokens': { input: 'x', model: name },
    '/v1/messages': { messages: [{ role: 'user', content: 'x' }], model: name, max_tokens: 1 },
    '/v1/messages/count_tokens': { messages: [{ role: 'user', content: 'x' }], model: name },
    '/v1/embeddings': { input: 'x', model: name },
    '/api/chat': { messages: [{ role: 'user', content: 'x' }], model: name, stream: false },
    '/api/generate': { prompt: 'x', model: name, stream: false },
    '/': { inputs: 'x', parameters: { adapter_id: name, max_new_tokens: 1 } },
    '/generate': { inputs: 'x', parameters: { adapter_id: name, max_new_tokens: 1 } },
    '/generate_stream': { inputs: 'x', parameters: { adapter_id: name, max_new_tokens: 1 } },
    '/tokenize': { prompt: 'x', model: name },
    '/detokenize': { tokens: [1], model: name },
    '/v1/unload_lora_adapter': { lora_name: name },
    '/v1/fine_tuning/jobs': { training_file: file },
    '/v1/batches': { input_file_id: file, endpoint: '/v1/completions', completion_window: '24h' },
    '/v1/adapters/{name}/aliases/{alias}': { version: 1 },
  };
  return bodies[path] ?? {};
}

async function asked(
  testing: TestApp,
  { method, path }: Operation,
  headers: Record<string, string>,
  names: NamesOfAll,
) {
  const payload = /^P/.test(method) ? { payload: bodyOf(path, names) } : {};
  return testing.app.inject({ method, url: addressOf(path, names), headers, ...payload });
}

type NamesOfAll = Names & { readonly file: string; readonly job: string; readonly batch: string };
const missing = { ...nobodys, file: 'file-none', job: 'ftjob-none', batch: 'batch_none' } as NamesOfAll;

async function keyed(t: TestContext) {
  const testing = await testApp(t, { trainer: { stepMs: null } });
  const make = async (options: { tenant?: string; scopes: readonly Scope[]; adapters?: string[] }) =>
    (await testing.keys.create({ tenant: 'a', name: 'n', ...options })).key;
  return { ...testing, make };
}

/** Makes the key expire, by rotating it without an overlap. */
async function expired({ keys }: TestApp, key: string): Promise<string> {
  await keys.rotate(key.split('_')[1]!, 0, null);
  return key;
}

/** Makes one of each thing that a tenant can have. */
async function belongings({ registry, training }: TestApp, tenant: string): Promise<NamesOfAll> {
  const name = 'theirs';
  await registry.add(name, { tenant });
  await registry.setAlias(tenant, { name, alias: 'prod', targets: [{ version: 1, weight: 1 }], expected: null });
  const file = await training.file({ tenant });
  const job = await training.create({ tenant, trainingFile: file.id });
  const batch = await newBatch(training, 1, tenant);
  return { ...nobodys, name, model: name, id: name, file: file.id, job: job.id, batch } as NamesOfAll;
}

/** Whether a route generates, or encodes text as the adapter that it names would. */
const isAnswering = ({ method, path }: Operation) =>
  method === 'POST' && /^\/(api\/|generate|$|v1\/(generate|.*completions|responses|messages|embeddings))/.test(path);

const operatorsOwn = /^\/v1\/admin\/(keys|tenants|audit|adapters$|jobs|settings|usage|replicas)/;

test('who may ask what: every route by every kind of key', async (t) => {
  const testing = await keyed(t);
  const operations = await operationsOf(testing);
  assert.ok(operations.length >= 50, `only ${operations.length} operations`);
  const plain = scopes.filter((scope) => scope !== 'operator');
  const byScope = new Map<Scope, string>();
  for (const scope of plain) byScope.set(scope, await testing.make({ scopes: [scope] }));
  const operator = await testing.make({ scopes: ['operator'], tenant: 'operations' });
  const refused = {
    wrong: `${(await testing.make({ scopes: plain })).slice(0, -1)}x`,
    expired: await expired(testing, await testing.make({ scopes: plain })),
    revoked: await testing.make({ scopes: plain }),
    disabled: await testing.make({ scopes: plain, tenant: 'disabled' }),
  };
  await testing.keys.revoke(refused.revoked.split('_')[1]!);
  await testing.tenants.change('disabled', { disabled: true });
  let asks = 0;
  for (const operation of operations) {
    const what = `${operation.method} ${operation.path}`;
    const statusOf = async (headers: Record<string, string>) => {
      asks++;
      return (await asked(testing, operation, headers, missing)).statusCode;
    };
    if (operation.isOpen) {
      assert.equal(await statusOf({}), 200, what);
      continue;
    }
    assert.equal(await statusOf({}), 401, `${what} without a key`);
    const open: Scope[] = [];
    for (const [scope, key] of byScope) if ((await statusOf(bearer(key))) !== 403) open.push(scope);
    const isOperators = open.length === 0;
    // Files belong to training or to batches, and the routes of files check which.
    const openMax = operation.path.startsWith('/v1/files') ? 2 : 1;
    assert.ok(open.length <= openMax, `${what} is open to ${open}`);
    assert.equal(isOperators, operatorsOwn.test(operation.path), what);
    assert.ok(![401, 403].includes(await statusOf(bearer(operator))), `${what} is closed to the operator`);
  }
  // One request for each kind, since attempts are limited by address.
  for (const [kind, key] of Object.entries(refused)) {
    const answer = await testing.app.inject({ url: '/v1/models', headers: bearer(key) });
    assert.equal(answer.json().error.code, 'invalid_api_key', kind);
  }
  t.diagnostic(`${operations.length} operations, ${asks} requests`);
});

test('every kind of key that is refused is refused on every route, in the same words', async (t) => {
  const testing = await testApp(t, { deps: { limits: { ...limits, authAttempts: 1e6 } } });
  const all = scopes.filter((scope) => scope !== 'operator');
  const make = async (options: object) =>
    (await testing.keys.create({ tenant: 'a', name: 'n', scopes: all, ...options })).key;
  const revoked = await make({});
  await testing.keys.revoke(revoked.split('_')[1]!);
  const disabled = await make({ tenant: 'disabled' });
  await testing.tenants.change('disabled', { disabled: true });
  const keys = [`${(await make({})).slice(0, -1)}x`, await expired(testing, await make({})), revoked, disabled, 'x'];
  for (const operation of await operationsOf(testing)) {
    if (operation.isOpen) continue;
    const bodies = new Set<string>();
    for (const key of keys) {
      const answer = await asked(testing, operation, bearer(key), missing);
      assert.equal(answer.statusCode, 401, `${operation.method} ${operation.path}`);
      bodies.add(answer.body);
    }
    assert.equal(bodies.size, 1, `${operation.method} ${operation.path}`);
  }
});

test("another tenant's things answer as what does not exist; so do adapters that a key is not bound to", async (t) => {
  const testing = await keyed(t);
  const theirs = await belongings(testing, 'b');
  const strangers = { a: await testing.make({ scopes: scopes.filter((scope) => scope !== 'operator') }) };
  const bound = await testing.make({
    ...{ tenant: 'b', adapters: ['other', 'org/*'] },
    scopes: ['generate', 'adapters', 'admin'],
  });
  const operations = (await operationsOf(testing)).filter(
    ({ path, isOpen }) => !isOpen && !path.includes('/admin/keys'),
  );
  const anonymous = (text: string) => {
    let same = text;
    for (const key of ['name', 'file', 'job', 'batch'] as const) {
      same = same.replaceAll(theirs[key]!, 'NAME').replaceAll(missing[key]!, 'NAME');
    }
    return same;
  };
  const headersOf = (headers: Record<string, unknown>) =>
    Object.keys(headers)
      .filter((name) => name !== 'content-length')
      .sort();
  let pairs = 0;
  for (const operation of operations) {
    const what = `${operation.method} ${operation.path}`;
    const isOfAdapter = /\{(name|model|id)\}|unload/.test(operation.path) || isAnswering(operation);
    const isOwn = /files|fine_tuning|batches/.test(operation.path);
    const askers = [bearer(strangers.a), ...(isOfAdapter && !isOwn ? [bearer(bound)] : [])];
    for (const headers of askers) {
      const [foreign, none] = [
        await asked(testing, operation, headers, theirs),
        await asked(testing, operation, headers, missing),
      ];
      assert.equal(foreign.statusCode, none.statusCode, `${what}: ${foreign.body} / ${none.body}`);
      // A scrape of the metrics counts itself.
      if (operation.path !== '/metrics') assert.equal(anonymous(foreign.body), anonymous(none.body), what);
      assert.deepEqual(headersOf(foreign.headers), headersOf(none.headers), what);
      assert.ok(!JSON.stringify(foreign.headers).includes('theirs'), what);
      pairs++;
    }
  }
  // The requests are valid apart from their caller: the owner gets an answer, on routes that change nothing.
  const ofOwner = bearer(await testing.make({ tenant: 'b', scopes: scopes.filter((scope) => scope !== 'operator') }));
  for (const operation of operations) {
    const isRead = operation.method === 'GET' && operation.path.includes('{') && !operatorsOwn.test(operation.path);
    // Left out: an export needs a format.
    if (!(isRead || isAnswering(operation)) || operation.path.endsWith('/merged')) continue;
    const what = `${operation.method} ${operation.path}`;
    const [owned, foreign] = [
      await asked(testing, operation, ofOwner, theirs),
      await asked(testing, operation, bearer(strangers.a), theirs),
    ];
    assert.deepEqual([owned.statusCode, foreign.statusCode], [200, 404], `${what}: ${owned.body} / ${foreign.body}`);
  }
  // Nothing was deleted, and the owner still sees all of it.
  const owner = await testing.make({ tenant: 'b', scopes: ['generate', 'adapters', 'train'] });
  for (const url of ['/v1/adapters/theirs', `/v1/files/${theirs.file}`, `/v1/fine_tuning/jobs/${theirs.job}`]) {
    assert.equal((await testing.app.inject({ url, headers: bearer(owner) })).statusCode, 200, url);
  }
  t.diagnostic(`${pairs} pairs`);
});
