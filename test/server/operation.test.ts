import assert from 'node:assert/strict';
import { test } from 'node:test';
import { examples } from '../../src/server/schemas/examples.ts';
import { unsharedChanges } from '../../src/storage/replicas/changes.ts';
import { testApp } from '../helpers/app.ts';

test('live always, ready while the engine is and nobody drains', async (t) => {
  const { app, engine } = await testApp(t);
  const readiness = async () => {
    const { statusCode, body } = await app.inject('/readyz');
    return [statusCode, JSON.parse(body).status, ...JSON.parse(body).reasons];
  };
  assert.deepEqual(await readiness(), [200, 'ok']);
  engine.state = 'restarting';
  assert.deepEqual(await readiness(), [503, 'unavailable', 'engine_restarting']);
  for (const url of ['/health', '/v2/health/ready']) assert.equal((await app.inject(url)).statusCode, 503, url);
  engine.state = 'ready';
  app.drain();
  assert.deepEqual(await readiness(), [503, 'unavailable', 'draining']);
  for (const url of ['/livez', '/v2/health/live']) assert.equal((await app.inject(url)).statusCode, 200, url);
});

test('started once the model has been loaded, and from then on', async (t) => {
  const { app, engine } = await testApp(t);
  const startup = async () => {
    const answer = await app.inject('/startupz');
    return [answer.statusCode, answer.json().status];
  };
  engine.state = 'starting';
  assert.deepEqual(await startup(), [503, 'starting']);
  for (const state of ['ready', 'restarting', 'draining'] as const) {
    engine.state = state;
    assert.deepEqual(await startup(), [200, 'started']);
  }
});

test('the load is what runs and waits', async (t) => {
  const { app, post, engine } = await testApp(t, { stepMs: null, slots: 1 });
  const load = async () => (await app.inject('/load')).json();
  assert.deepEqual(await load(), { server_load: 0 });
  const answers = [1, 2, 3].map(() => post('/v1/generate', { prompt: 'x', max_tokens: 1 }));
  while ((await load()).server_load < 3) await new Promise(setImmediate);
  while ((await load()).server_load > 0) engine.step();
  await Promise.all(answers);
});

test('of several processes each is told of; one that is down leaves the server ready, and degraded', async (t) => {
  const { app, engine } = await testApp(t);
  const [one] = engine.engines;
  const stats = { ...one!.stats, running: 3, waiting: 1 };
  const engines = [
    { ...one!, name: 'cuda:0', stats },
    { ...one!, name: 'cuda:1', state: 'restarting', problem: 'It died.', restarts: 2 },
  ];
  Object.defineProperty(engine, 'engines', { value: engines });
  const answer = await app.inject('/readyz');
  assert.equal(answer.statusCode, 200);
  const { status, reasons, engine: said } = answer.json();
  assert.deepEqual([status, reasons], ['degraded', ['engine_degraded']]);
  assert.deepEqual(said.processes, [
    { name: 'cuda:0', state: 'ready', restarts: 0, running: 3, waiting: 1 },
    { name: 'cuda:1', state: 'restarting', restarts: 2, running: 0, waiting: 0 },
  ]);
  const lines = (await app.inject('/metrics')).body.split('\n');
  for (const line of [
    'lorikeet_device_ready{device="cuda:0"} 1',
    'lorikeet_device_ready{device="cuda:1"} 0',
    'lorikeet_device_requests_running{device="cuda:0"} 3',
    'lorikeet_device_engine_restarts{device="cuda:1"} 2',
  ]) {
    assert.ok(lines.includes(line), line);
  }
});

test('while it drains the server still answers, and asks for no further request on the connection', async (t) => {
  const { app, post } = await testApp(t);
  app.drain();
  const answer = await post('/v1/generate', { prompt: 'x' });
  assert.deepEqual([answer.statusCode, answer.headers.connection], [200, 'close']);
});

test('the metrics count requests and tokens under our names and vLLM’s', async (t) => {
  const { app, post } = await testApp(t, { says: 'four' });
  await post('/v1/generate', { prompt: 'xyz' });
  await post('/v1/generate', { prompt: 'xyz', max_tokens: 2 });
  await post('/v1/generate', {});
  const { body, headers } = await app.inject('/metrics');
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const lines = body.split('\n');
  const expected = [
    'lorikeet_prompt_tokens_total 6',
    'lorikeet_generation_tokens_total 6',
    'lorikeet_sequences_finished_total{finished_reason="stop"} 1',
    'lorikeet_request_errors_total{code="missing_parameter"} 1',
    'lorikeet_requests_running 0',
    'lorikeet_engine_restarts_total 0',
    'lorikeet_http_requests_total{method="POST",route="/v1/generate",status="400"} 1',
    'vllm:num_requests_waiting{model_name="tiny"} 0',
    'vllm:kv_cache_usage_perc{model_name="tiny"} 0',
    'vllm:cache_config_info{model_name="tiny",block_size="32",num_gpu_blocks="256"} 1',
    'vllm:prompt_tokens_total{model_name="tiny"} 6',
    'vllm:iteration_tokens_total_count{model_name="tiny"} 7',
    'vllm:iteration_tokens_total_sum{model_name="tiny"} 11',
    'vllm:request_success_total{model_name="tiny",finished_reason="length"} 1',
    'vllm:time_to_first_token_seconds_count{model_name="tiny"} 2',
    'vllm:inter_token_latency_seconds_bucket{model_name="tiny",le="+Inf"} 4',
  ];
  for (const line of expected) assert.ok(lines.includes(line), line);
});

test('the description covers every route and is valid for its version', async (t) => {
  const { app } = await testApp(t);
  const { openapi, paths } = (await app.inject('/openapi.json')).json();
  assert.equal(openapi, '3.1.0');
  assert.deepEqual(Object.keys(paths).sort(), [
    '/',
    '/api/chat',
    '/api/generate',
    '/api/tags',
    '/api/version',
    '/detokenize',
    '/generate',
    '/generate_stream',
    '/health',
    '/info',
    '/livez',
    '/load',
    '/metrics',
    '/openapi.json',
    '/ping',
    '/readyz',
    '/startupz',
    '/tokenize',
    '/tokenizer_info',
    '/v1/adapters',
    '/v1/adapters/uploads/{digest}',
    '/v1/adapters/{name}',
    '/v1/adapters/{name}/aliases',
    '/v1/adapters/{name}/aliases/{alias}',
    '/v1/adapters/{name}/analysis',
    '/v1/adapters/{name}/merged',
    '/v1/adapters/{name}/versions',
    '/v1/adapters/{name}/versions/{version}',
    '/v1/adapters/{name}/versions/{version}/content',
    '/v1/admin/adapters',
    '/v1/admin/adapters/{id}/merge',
    '/v1/admin/audit',
    '/v1/admin/jobs',
    '/v1/admin/keys',
    '/v1/admin/keys/{prefix}',
    '/v1/admin/keys/{prefix}/rotate',
    '/v1/admin/merges',
    '/v1/admin/replicas',
    '/v1/admin/settings',
    '/v1/admin/tenants',
    '/v1/admin/tenants/{tenant}',
    '/v1/admin/usage',
    '/v1/batches',
    '/v1/batches/{id}',
    '/v1/batches/{id}/cancel',
    '/v1/chat/completions',
    '/v1/completions',
    '/v1/embeddings',
    '/v1/files',
    '/v1/files/{id}',
    '/v1/files/{id}/content',
    '/v1/fine_tuning/jobs',
    '/v1/fine_tuning/jobs/{id}',
    '/v1/fine_tuning/jobs/{id}/cancel',
    '/v1/fine_tuning/jobs/{id}/checkpoints',
    '/v1/fine_tuning/jobs/{id}/events',
    '/v1/fine_tuning/jobs/{id}/pause',
    '/v1/fine_tuning/jobs/{id}/resume',
    '/v1/generate',
    '/v1/load_lora_adapter',
    '/v1/messages',
    '/v1/messages/count_tokens',
    '/v1/models',
    '/v1/models/{model}',
    '/v1/responses',
    '/v1/responses/input_tokens',
    '/v1/unload_lora_adapter',
    '/v1/usage',
    '/v2/health/live',
    '/v2/health/ready',
    '/version',
  ]);
  const generate = paths['/v1/generate'].post;
  assert.deepEqual(Object.keys(generate.responses['200'].content), ['application/json', 'text/event-stream']);
  assert.deepEqual(Object.keys(generate.responses), ['200', '4XX', '5XX']);
  const upload = paths['/v1/adapters'].post;
  assert.deepEqual(Object.keys(upload.requestBody.content), ['application/json', 'multipart/form-data']);
  assert.deepEqual(Object.keys(upload.responses), ['200', '201', '4XX', '5XX']);
});

test('what may be left out may be null, in the description as in the validator, however deep it stands', async (t) => {
  const { app, keys } = await testApp(t);
  const { paths } = (await app.inject('/openapi.json')).json();
  const schemaOf = (path: string, method: string) => paths[path][method].requestBody.content['application/json'].schema;
  const { quota } = schemaOf('/v1/admin/tenants/{tenant}', 'put').properties;
  assert.deepEqual(
    [quota.type, quota.properties.merges.type],
    [
      ['object', 'null'],
      ['integer', 'null'],
    ],
  );
  const format = schemaOf('/v1/generate', 'post').properties.messages.items;
  assert.ok(!JSON.stringify(format.properties.role).includes('null'), 'what has to be there may not');
  const { key } = await keys.create({ tenant: 'acme', name: '', scopes: ['operator'] });
  const answer = await app.inject({
    ...{ method: 'PUT', url: '/v1/admin/tenants/acme', headers: { authorization: `Bearer ${key}` } },
    payload: { disabled: null, quota: { merges: null, weight: 2 } },
  });
  assert.deepEqual([answer.statusCode, answer.json().quota], [200, { weight: 2 }]);
});

test('each operation has a name of its own, and each body that the description shows works as it stands', async (t) => {
  const { app, post } = await testApp(t);
  const { paths } = (await app.inject('/openapi.json')).json();
  const operations = Object.values(paths as Record<string, Record<string, { operationId: string }>>).flatMap(
    (methods) => Object.values(methods).map(({ operationId }) => operationId),
  );
  assert.ok(operations.includes('postV1ChatCompletions'));
  assert.deepEqual(
    operations.filter((id, i) => !/^[a-z][A-Za-z0-9]+$/.test(id) || operations.indexOf(id) !== i),
    [],
  );
  for (const [path, example] of Object.entries(examples)) {
    assert.deepEqual(paths[path].post.requestBody.content['application/json'].example, example, path);
    const { statusCode, body } = await post(path, example);
    assert.equal(statusCode, 200, `${path}: ${body}`);
  }
});

test('the root says what this is, and leads a browser to the console', async (t) => {
  const { app } = await testApp(t);
  const { version, ...rest } = (await app.inject('/')).json();
  assert.match(version, /^\d+\.\d+\.\d+/);
  assert.deepEqual(rest, {
    ...{ name: 'lorikeet', model: 'tiny', docs: '/docs', openapi: '/openapi.json', console: '/console/' },
  });
  for (const address of [rest.docs, rest.openapi, rest.console]) {
    assert.equal((await app.inject(address)).statusCode, 200, address);
  }
  const led = await app.inject({ url: '/', headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } });
  assert.deepEqual([led.statusCode, led.headers.location], [302, '/console/']);
  const closed = await testApp(t, { deps: { hasDocs: false } });
  assert.deepEqual(Object.keys((await closed.app.inject('/')).json()), ['name', 'version', 'model', 'console']);
});

test('the page for people comes with all its assets', async (t) => {
  const { app } = await testApp(t);
  const page = await app.inject('/docs');
  assert.equal(page.statusCode, 200);
  const assets = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address!);
  assert.ok(assets.length >= 3);
  for (const asset of assets) {
    assert.ok(asset.startsWith('/docs/'), asset);
    assert.equal((await app.inject(asset)).statusCode, 200, asset);
  }
});

test('nothing outside the page’s folder is found there', async (t) => {
  const { app } = await testApp(t);
  for (const url of ['/docs/static/%2e%2e/%2e%2e/package.json', '/docs/static/..%2f..%2fpackage.json']) {
    const { statusCode } = await app.inject(url);
    assert.ok(statusCode === 404 || statusCode === 405, `${url}: ${statusCode}`);
  }
});

test('settings are told with their origin, to whoever may administer', async (t) => {
  const { app, keys } = await testApp(t);
  assert.deepEqual((await app.inject('/v1/admin/settings')).json().data, [
    { id: 'LORIKEET_PORT', object: 'setting', value: '0', origin: 'flag' },
  ]);
  const { key } = await keys.create({ tenant: 'acme', name: '', scopes: ['generate'] });
  const headers = { authorization: `Bearer ${key}` };
  assert.equal((await app.inject({ url: '/v1/admin/settings', headers })).statusCode, 403);
});

test('a server says who shares its database, and how old what it knows may be', async (t) => {
  const changes = unsharedChanges('one');
  const { app } = await testApp(t, { deps: { changes } });
  const fresh = await app.inject('/v1/admin/replicas');
  assert.equal(fresh.headers['x-lorikeet-stale-seconds'], undefined);
  const [one] = fresh.json().data;
  assert.deepEqual([one.id, one.is_this, one.lease_seconds, one.changes_behind], ['one', true, null, 0]);
  assert.equal(one.status.engine, 'ready');
  const behind = await testApp(t, { deps: { changes: { ...changes, staleMs: 12_300 } } });
  const ready = await behind.app.inject('/readyz');
  assert.equal(ready.statusCode, 200, 'what it has it goes on to serve');
  assert.deepEqual([ready.json().status, ready.json().reasons], ['degraded', ['registry_stale']]);
  const answer = await behind.post('/v1/generate', { prompt: 'x', max_tokens: 1 });
  assert.deepEqual([answer.statusCode, answer.headers['x-lorikeet-stale-seconds']], [200, '13']);
  const stream = await behind.post('/v1/completions', { model: 'tiny', prompt: 'x', max_tokens: 1, stream: true });
  assert.deepEqual([stream.statusCode, stream.headers['x-lorikeet-stale-seconds']], [200, '13']);
  assert.match((await behind.app.inject('/metrics')).body, /^lorikeet_replica_stale_seconds 12\.3$/m);
});
