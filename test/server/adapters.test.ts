import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { unpackTar } from 'modern-tar/fs';
import { Value } from 'typebox/value';
import { limits } from '../../src/core/limits.ts';
import { Adapter, AdapterList } from '../../src/server/schemas/adapters.ts';
import { listen, type TestApp, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

const config = '{"r":8,"target_modules":["q_proj","v_proj"]}';
const parts = { name: 'org/first', 'adapter_config.json': config, 'adapter_model.safetensors': 'weights' };

/** Posts a form as a browser or `curl -F` sends it; a Blob is a file. */
async function post({ app }: TestApp, entries: readonly (readonly [string, string | Blob, string?])[], headers = {}) {
  const form = new FormData();
  for (const [name, value, fileName] of entries) {
    if (typeof value === 'string') form.append(name, value);
    else form.append(name, value, fileName ?? name);
  }
  const request = new Request('http://x/', { method: 'POST', body: form });
  const payload = Buffer.from(await request.arrayBuffer());
  const contentType = { 'content-type': request.headers.get('content-type')! };
  return app.inject({ method: 'POST', url: '/v1/adapters', headers: { ...contentType, ...headers }, payload });
}

const file = (text: string) => new Blob([text]);
const whole = (change: Partial<typeof parts> = {}) =>
  Object.entries({ ...parts, ...change }).map(
    ([name, value]) => [name, name === 'name' ? value : file(value)] as [string, string | Blob],
  );

test('a form becomes a version; the same again is the same; other content is the next version', async (t) => {
  const testing = await testApp(t);
  const made = await post(testing, whole());
  assert.equal(made.statusCode, 201, made.body);
  assert.equal(made.headers.location, '/v1/adapters/org%2Ffirst/versions/1');
  const adapter = made.json();
  assert.ok(Value.Check(Adapter, adapter));
  assert.deepEqual(
    [adapter.id, adapter.r, adapter.target_modules, adapter.bytes, adapter.state, adapter.source, adapter.created_by],
    ['org/first@1', 8, ['q_proj', 'v_proj'], 7, 'ready', 'upload', null],
  );
  const located = (await testing.app.inject(made.headers.location!)).json();
  assert.deepEqual(located, { ...adapter, provenance: null });
  const again = await post(testing, whole().reverse());
  assert.deepEqual([again.statusCode, again.json().id], [200, 'org/first@1']);
  const next = await post(testing, whole({ 'adapter_model.safetensors': 'other' }));
  assert.deepEqual([next.statusCode, next.json().version], [201, 2]);
  assert.equal(testing.registry.staged, 0);
});

test('parts are known by the names of their files too, and a config may be a text', async (t) => {
  const testing = await testApp(t);
  const entries: [string, string | Blob, string?][] = [
    ['file', file('weights'), 'adapter_model.safetensors'],
    ['name', 'a'],
    ['file', file(config), 'C:\\folder\\adapter_config.json'],
  ];
  assert.equal((await post(testing, entries)).statusCode, 201);
  const asText = await post(testing, [['name', 'b'], ['adapter_config.json', config], whole()[2]!]);
  assert.equal(asText.statusCode, 201, asText.body);
});

test('a form that is wrong is refused with the part at fault, and leaves nothing behind', async (t) => {
  const testing = await testApp(t);
  const cases: [Awaited<ReturnType<typeof whole>>, string, string][] = [
    [[...whole(), ['optimizer.pt', file('x')]], 'unknown_parameter', 'optimizer.pt'],
    [[...whole(), ['name', 'twice']], 'invalid_parameter', 'name'],
    [whole().slice(1), 'missing_parameter', 'name'],
    [whole().slice(0, 2), 'missing_parameter', 'adapter_model.safetensors'],
    [[...whole().slice(0, 2), ['adapter_model.safetensors', 'text']], 'invalid_parameter', 'adapter_model.safetensors'],
    [[['name', file('x')], ...whole().slice(1)], 'invalid_parameter', 'name'],
    [whole({ name: '../x' }), 'invalid_parameter', 'name'],
    [whole({ name: 'tiny' }), 'invalid_parameter', 'name'],
  ];
  for (const [entries, code, param] of cases) {
    const { error } = (await post(testing, entries)).json();
    assert.deepEqual([error.code, error.param], [code, param]);
  }
  const headers = { 'content-type': 'multipart/form-data; boundary=x' };
  for (const payload of ['--x\r\nbroken', 'nothing', '--x\r\ncontent-disposition: form-data; name="name"\r\n\r\nab']) {
    const answer = await testing.app.inject({ method: 'POST', url: '/v1/adapters', headers, payload });
    assert.equal(answer.statusCode, 400, answer.body);
  }
  assert.equal(testing.registry.staged, 0);
  assert.deepEqual((await testing.app.inject('/v1/adapters')).json().data, []);
});

test('weights come in parts, go on where they stopped, and are published by their digest', async (t) => {
  const testing = await testApp(t);
  const digest = `sha256:${createHash('sha256').update('weights').digest('hex')}`;
  const url = `/v1/adapters/uploads/${digest}`;
  const patch = (offset: number, payload: string, more = {}) =>
    testing.app.inject({
      method: 'PATCH',
      url,
      headers: {
        'content-type': 'application/octet-stream',
        'upload-offset': String(offset),
        'upload-length': '7',
        ...more,
      },
      payload,
    });
  assert.equal((await testing.app.inject({ method: 'HEAD', url })).statusCode, 404);
  const first = await patch(0, 'wei');
  assert.deepEqual(
    [first.statusCode, first.headers['upload-offset'], first.headers['upload-complete']],
    [204, '3', '?0'],
  );
  const again = await patch(0, 'wei');
  assert.deepEqual([again.statusCode, again.headers['upload-offset']], [409, '3']);
  const there = await testing.app.inject({ method: 'HEAD', url });
  assert.deepEqual([there.statusCode, there.headers['upload-offset'], there.body], [204, '3', '']);
  const body = { name: 'big', config, weights: digest };
  const early = await testing.post('/v1/adapters', body);
  assert.equal(early.json().error.code, 'upload_not_found');
  assert.equal((await patch(3, 'ghts')).headers['upload-complete'], '?1');
  const made = await testing.post('/v1/adapters', body);
  assert.deepEqual([made.statusCode, made.json().id], [201, 'big@1']);
  // A config that is sent as text keeps the bytes of the file, and so its digest.
  assert.equal((await post(testing, whole({ name: 'big' }))).statusCode, 200);
  const taken = await testing.post('/v1/adapters', { ...body, config: JSON.parse(config) });
  assert.equal(taken.statusCode, 200, 'weights that the tenant has are not sent once more');
  assert.equal((await patch(0, 'x', { 'upload-offset': '-1' })).json().error.param, 'upload-offset');
  assert.equal((await patch(0, 'x', { 'upload-length': '0' })).json().error.param, 'upload-length');
  const huge = await patch(0, 'x', { 'upload-length': String(limits.adapterWeightsBytes + 1) });
  assert.deepEqual([huge.statusCode, huge.json().error.param], [413, 'upload-length']);
  assert.equal((await patch(0, '{}', { 'content-type': 'application/json' })).statusCode, 415);
  assert.equal(testing.registry.staged, 0);
});

test('lists have pages', async (t) => {
  const { app, registry } = await testApp(t);
  for (const name of ['c', 'a/x', 'b', 'a/x']) await registry.add(name, { content: `${name}${registry.leases}` });
  const page = async (query: string) => (await app.inject(`/v1/adapters?${query}`)).json();
  const first = await page('limit=2');
  assert.ok(Value.Check(AdapterList, first));
  assert.deepEqual([first.first_id, first.last_id, first.has_more], ['a/x@1', 'b@1', true]);
  const second = await page(`limit=2&after=${encodeURIComponent(first.last_id!)}`);
  assert.deepEqual([second.data.map(({ name }: { name: string }) => name), second.has_more], [['c'], false]);
  assert.equal((await page('limit=0')).error.param, 'limit');
  assert.equal((await page('page=2')).error.code, 'unknown_parameter');
});

async function unpacked(t: TestContext, archive: Buffer): Promise<(name: string) => string> {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-tar-'));
  t.after(() => rmSync(folder, { recursive: true }));
  await pipeline(Readable.from([archive]), unpackTar(folder));
  return (name) => readFileSync(join(folder, name), 'utf8');
}

test("a version's content is a folder that PEFT reads, held while it is read", async (t) => {
  const testing = await testApp(t);
  await post(testing, whole());
  const answer = await testing.app.inject('/v1/adapters/org%2Ffirst/versions/1/content');
  assert.equal(answer.headers['content-type'], 'application/x-tar');
  assert.equal(answer.headers['content-disposition'], 'attachment; filename="org-first@1.tar"');
  const read = await unpacked(t, answer.rawPayload);
  assert.deepEqual([read('adapter_config.json'), read('adapter_model.safetensors')], [config, 'weights']);
  await until(() => testing.registry.held === 0);
});

test('who takes nothing of a download is cut off and holds the version no longer', async (t) => {
  const { app, registry } = await testApp(t, { deps: { limits: { ...limits, readPeriodMs: 50 } } });
  await registry.add('big', { content: 'x'.repeat(16 * 2 ** 20) });
  const port = await listen(app);
  const reading = get(`http://127.0.0.1:${port}/v1/adapters/big/versions/1/content`, (answer) => void answer.pause());
  reading.on('error', () => {});
  t.after(() => reading.destroy());
  await until(() => registry.leases === 1);
  await until(() => registry.held === 0);
});

test('a deletion waits for the requests that use the version, or says that it goes on', async (t) => {
  const deps = { limits: { ...limits, deletionWaitMs: 2000 } };
  const { app, registry, engine, post: ask } = await testApp(t, { deps, stepMs: null });
  for (const content of ['1', '2']) await registry.add('a', { content });
  const remove = (url: string) => app.inject({ method: 'DELETE', url });
  const gone = await remove('/v1/adapters/a/versions/1');
  assert.deepEqual([gone.statusCode, gone.json()], [200, { id: 'a@1', object: 'adapter', deleted: true }]);
  const answer = ask('/v1/generate', { prompt: 'x', adapter_id: 'a', max_tokens: 1 });
  await until(() => engine.stats.waiting === 1);
  const going = await remove('/v1/adapters/a');
  assert.deepEqual([going.statusCode, going.json().deleted], [202, false]);
  assert.equal((await app.inject('/v1/adapters/a')).json().state, 'deleting');
  assert.equal((await ask('/v1/generate', { prompt: 'x', adapter_id: 'a' })).json().error.code, 'adapter_deleting');
  engine.step();
  assert.equal((await answer).json().adapter.name, 'a');
  while ((await app.inject('/v1/adapters/a')).statusCode !== 404) await wait(2);
  assert.equal((await remove('/v1/adapters/a')).statusCode, 404);
});

test("another tenant's adapter answers as one that does not exist, on every route", async (t) => {
  const { app, registry, keys } = await testApp(t);
  const { key } = await keys.create({ tenant: 'a', name: 'n', scopes: ['generate', 'adapters', 'admin'] });
  await registry.add('theirs', { tenant: 'b' });
  await registry.setAlias('b', { name: 'theirs', alias: 'prod', targets: [{ version: 1, weight: 1 }], expected: null });
  const headers = { authorization: `Bearer ${key}` };
  const bodies = (name: string) => ({
    [`GET /v1/adapters/${name}`]: undefined,
    [`DELETE /v1/adapters/${name}`]: undefined,
    [`GET /v1/adapters/${name}/versions`]: undefined,
    [`GET /v1/adapters/${name}/versions/1`]: undefined,
    [`GET /v1/adapters/${name}/versions/1/content`]: undefined,
    [`DELETE /v1/adapters/${name}/versions/1`]: undefined,
    [`GET /v1/adapters/${name}/aliases`]: undefined,
    [`GET /v1/adapters/${name}/aliases/prod`]: undefined,
    [`PUT /v1/adapters/${name}/aliases/prod`]: { version: 1 },
    [`GET /v1/models/${name}`]: undefined,
    [`DELETE /v1/models/${name}`]: undefined,
    'POST /v1/generate': { prompt: 'x', adapter_id: name },
    'POST /v1/completions': { prompt: 'x', model: name },
    'POST /v1/chat/completions': { messages: [{ role: 'user', content: 'x' }], model: name },
    'POST /v1/unload_lora_adapter': { lora_name: name },
  });
  const answers = async (name: string) => {
    const found: string[] = [];
    for (const [route, payload] of Object.entries(bodies(name))) {
      const [method, url] = route.split(' ') as ['GET', string];
      const answer = await app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
      assert.equal(answer.statusCode, 404, `${route}: ${answer.body}`);
      found.push(answer.body.replaceAll(name, 'NAME'));
    }
    return found;
  };
  assert.deepEqual(await answers('theirs'), await answers('nobodys'));
  assert.deepEqual((await app.inject({ url: '/v1/adapters', headers })).json().data, []);
  assert.equal((await app.inject({ url: '/v1/models', headers })).json().data.length, 1);
});

test('it is said where the weights are: merged, in pages, in memory, on the disk', async (t) => {
  const { app, engine, post, registry } = await testApp(t);
  const digests = [];
  for (const name of ['a', 'b', 'c', 'd']) digests.push((await registry.add(name)).digest);
  const where = async (name: string) => (await app.inject(`/v1/adapters/${name}`)).json().residency;
  const [inPages, inMemory] = [digests[0]!, digests[1]!];
  engine.tiers.moved([
    { digest: inPages, place: 'memory', isThere: true },
    { digest: inPages, place: 'pages', isThere: true },
    { digest: inMemory, place: 'memory', isThere: true },
  ]);
  await post('/v1/admin/adapters/c/merge', {});
  assert.equal(await where('c'), 'disk');
  const key = [...engine.merges.keys()][0]!;
  engine.tellMerge({ key, state: 'merged', bits: 4, bytes: 9, ms: 1, quality: null });
  assert.deepEqual(await Promise.all(['a', 'b', 'c', 'd'].map(where)), ['pages', 'memory', 'merged', 'disk']);
  engine.tiers.moved([{ digest: inPages, place: 'pages', isThere: false }]);
  assert.equal(await where('a'), 'memory');
  engine.crash();
  assert.equal(await where('a'), 'disk');
});

test('a web page of others cannot upload to a server without keys', async (t) => {
  const testing = await testApp(t);
  const statusOf = async (origin: string) =>
    (await post(testing, whole(), { origin, host: 'localhost:8080' })).statusCode;
  assert.equal(await statusOf('http://example.com'), 403);
  assert.equal(await statusOf('null'), 403);
  assert.equal(await statusOf('http://localhost:8080'), 201, 'its own page may');
});

test('who made a version is the prefix of the key', async (t) => {
  const testing = await testApp(t);
  const { key, record } = await testing.keys.create({ tenant: 'a', name: 'n', scopes: ['adapters'] });
  const made = await post(testing, whole(), { authorization: `Bearer ${key}` });
  assert.equal(made.json().created_by, record.prefix);
  assert.equal((await testing.registry.find('a', 'org/first')).tenant, 'a');
});
