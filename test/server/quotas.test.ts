import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import test from 'node:test';
import { limits } from '../../src/core/limits.ts';
import type { Quota } from '../../src/tenants/quota.ts';
import { virtualTime } from '../fixtures/virtual-time.ts';
import { type TestApp, testApp } from '../helpers/app.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';
import { formOf } from './form.ts';

const generate = ({ post }: TestApp, key?: string, body: object = {}) =>
  post(
    '/v1/generate',
    { prompt: 'abcd', max_tokens: 2, ...body },
    key === undefined ? {} : { authorization: `Bearer ${key}` },
  );

test('requests a minute: headers say what is left, and one too many is a 429 as OpenAI has it', async (t) => {
  const clock = virtualTime();
  const app = await testApp(t, { says: 'x', quota: { requests_per_minute: 3 }, deps: { clock } });
  for (const left of ['2', '1', '0']) {
    const { statusCode, headers } = await generate(app);
    assert.deepEqual([statusCode, headers['x-ratelimit-remaining-requests']], [200, left]);
    assert.equal(headers['x-ratelimit-limit-requests'], '3');
  }
  const refused = await generate(app);
  assert.equal(refused.statusCode, 429);
  const { error } = refused.json();
  assert.deepEqual([error.code, error.type, error.param], ['rate_limit_exceeded', 'rate_limit_error', null]);
  assert.match(error.message, /3 requests a minute/);
  assert.deepEqual([refused.headers['retry-after'], refused.headers['x-ratelimit-reset-requests']], ['20', '1m0s']);
  assert.equal(app.engine.submitted.length, 3);
  clock.advance(20_000);
  assert.equal((await generate(app)).statusCode, 200);
});

test('changes a minute: one too many is refused and leaves no row, and reading goes on', async (t) => {
  const clock = virtualTime();
  const app = await testApp(t, { says: 'x', quota: { changes_per_minute: 2 }, deps: { clock } });
  const move = () => app.app.inject({ method: 'PUT', url: '/v1/adapters/a/aliases/prod', payload: { version: 1 } });
  // The adapter does not exist: a refused change counts too.
  for (let i = 0; i < 2; i++) assert.equal((await move()).statusCode, 404);
  const refused = await move();
  assert.deepEqual([refused.statusCode, refused.json().error.code], [429, 'rate_limit_exceeded']);
  assert.match(refused.json().error.message, /2 changes a minute/);
  assert.equal(refused.headers['retry-after'], '30');
  assert.equal((await app.app.inject('/v1/adapters')).statusCode, 200);
  assert.equal((await generate(app)).statusCode, 200);
  clock.advance(30_000);
  assert.equal((await move()).statusCode, 404);
});

test('tokens a minute: prompt and answer are taken as they come, and a debt is paid first', async (t) => {
  const clock = virtualTime();
  const app = await testApp(t, { says: 'xxxxxxxxxx', quota: { tokens_per_minute: 10 }, deps: { clock } });
  const first = await generate(app, undefined, { max_tokens: 8 });
  assert.deepEqual([first.statusCode, first.headers['x-ratelimit-remaining-tokens']], [200, '10']);
  const { usage } = first.json();
  const used = usage.prompt_tokens + usage.completion_tokens;
  const refused = await generate(app);
  assert.deepEqual([refused.statusCode, refused.json().error.code], [429, 'rate_limit_exceeded']);
  assert.equal(refused.headers['retry-after'], String(Math.ceil((used - 10 + 1) * 6)));
  clock.advance(60_000);
  // A prompt of more tokens than the bucket holds passes when the bucket is full.
  clock.advance(60_000);
  assert.equal((await generate(app, undefined, { prompt: 'abcdefghijklmnop', max_tokens: 1 })).statusCode, 200);
  assert.equal((await generate(app)).statusCode, 429);
});

test("a key's quota holds beside its tenant's, and says nothing of others", async (t) => {
  const quotas = new Map<string, Quota>();
  const source = {
    tenant: (name: string) => quotas.get(name) ?? null,
    key: (prefix: string) => quotas.get(prefix) ?? null,
  };
  const app = await testApp(t, { says: 'x', quotas: source });
  const make = async (tenant: string) => {
    const { key, record } = await app.keys.create({ tenant, name: 'k', scopes: ['generate'] });
    return { key, prefix: record.prefix };
  };
  const [small, large, other] = [await make('a'), await make('a'), await make('b')];
  quotas.set(small.prefix, { requests_per_minute: 1 });
  quotas.set('a', { requests_per_minute: 3, weight: 3, priority: 2 });
  quotas.set(large.prefix, { priority: 5 });
  const codes = [];
  for (const { key } of [small, small, large, large, large, other]) codes.push((await generate(app, key)).statusCode);
  assert.deepEqual(codes, [200, 429, 200, 200, 429, 200]);
  const shares = app.engine.submitted.map(({ share }) => [share!.weight, share!.priority]);
  assert.deepEqual(shares, [
    [3, 2],
    [3, 5],
    [3, 5],
    [1, 1],
  ]);
  const flows = app.engine.submitted.map(({ share }) => share!.flow);
  assert.ok(flows[0] === flows[1] && flows[0] !== flows[3]);
});

test('sequences at once, choices included; each end makes room', async (t) => {
  const app = await testApp(t, { says: 'xxxx', stepMs: null, quota: { concurrent_sequences: 3 } });
  const two = generate(app);
  const more = app.post('/v1/completions', { prompt: 'a', n: 2, max_tokens: 2 });
  while (app.engine.submitted.length < 3) await new Promise(setImmediate);
  const refused = await generate(app);
  assert.deepEqual([refused.statusCode, refused.json().error.code], [429, 'rate_limit_exceeded']);
  for (let i = 0; i < 3; i++) app.engine.step();
  assert.deepEqual([(await two).statusCode, (await more).statusCode], [200, 200]);
  const after = generate(app);
  while (app.engine.submitted.length < 4) await new Promise(setImmediate);
  for (let i = 0; i < 3; i++) app.engine.step();
  assert.equal((await after).statusCode, 200);
});

test('what the engine refuses counts as nothing that runs', async (t) => {
  const app = await testApp(t, {
    says: 'x',
    slots: 1,
    waitingMax: 1,
    stepMs: null,
    quota: { concurrent_sequences: 4 },
  });
  const ask = (n: number) => app.post('/v1/completions', { prompt: 'a', n, max_tokens: 1 });
  for (let i = 0; i < 3; i++) {
    assert.equal((await ask(4)).json().error.code, 'server_overloaded');
    app.engine.step();
  }
  const one = ask(1);
  while (app.engine.submitted.length < 4) await new Promise(setImmediate);
  app.engine.step();
  assert.equal((await one).statusCode, 200);
});

test('levels outlive a restart', async (t) => {
  const database = await newDatabase();
  t.after(() => database.destroy());
  const options = { says: 'x', database, quota: { requests_per_minute: 2 }, deps: { clock: virtualTime() } };
  const before = await testApp(t, options);
  await generate(before);
  await generate(before);
  await before.service.close();
  const after = await testApp(t, options);
  assert.equal((await generate(after)).statusCode, 429);
});

test('what is kept has quotas too: versions and their bytes', async (t) => {
  const { weights } = tinyAdapter(1);
  const app = await testApp(t, { quota: { adapters: 2, adapter_bytes: 3 * weights.length } });
  const upload = async (name: string, seed: number) => {
    const { config, weights } = tinyAdapter(seed);
    const { payload, headers } = formOf(
      { name: 'name', content: name },
      { name: 'adapter_config.json', filename: 'adapter_config.json', content: config },
      { name: 'adapter_model.safetensors', filename: 'adapter_model.safetensors', content: weights },
    );
    return await app.app.inject({ method: 'POST', url: '/v1/adapters', payload, headers });
  };
  assert.deepEqual([(await upload('a', 1)).statusCode, (await upload('a', 2)).statusCode], [201, 201]);
  assert.equal((await upload('a', 2)).statusCode, 200, 'the same again is no more');
  const refused = await upload('b', 3);
  assert.deepEqual([refused.statusCode, refused.json().error.code], [429, 'insufficient_quota']);
  assert.equal(refused.json().error.type, 'insufficient_quota');
  assert.equal(refused.headers['x-should-retry'], 'false');
});

test('bytes beyond a quota are not taken to the disk: of a form, of parts of an upload, of a file', async (t) => {
  const { app, registry, training } = await testApp(t, { quota: { adapter_bytes: 3000, file_bytes: 3000 } });
  const endless = (from: { sent: number }) =>
    (async function* () {
      for (; from.sent < 1_000_000; from.sent += 1000) yield Buffer.alloc(1000, 'a');
    })();
  const taken = [{ sent: 0 }, { sent: 0 }] as const;
  const staged = await registry.stage('default');
  await assert.rejects(staged.weights(Readable.from(endless(taken[0]))), { code: 'insufficient_quota' });
  await staged.discard();
  const file = await training.files.stage('default');
  await assert.rejects(file.rows(Readable.from(endless(taken[1])), 'batch'), { code: 'insufficient_quota' });
  await file.discard();
  for (const { sent } of taken) assert.ok(sent < 100_000, `${sent} bytes were read`);
  // Parts of uploads count with their final size, and together.
  const part = async (seed: number, total: number) => {
    const digest = `sha256:${createHash('sha256').update(`${seed}`).digest('hex')}`;
    const headers = { 'content-type': 'application/octet-stream', 'upload-offset': '0', 'upload-length': `${total}` };
    const url = `/v1/adapters/uploads/${digest}`;
    const { statusCode, body } = await app.inject({ method: 'PATCH', url, headers, payload: Buffer.alloc(10) });
    return statusCode === 204 ? 204 : JSON.parse(body).error.code;
  };
  assert.equal(await part(1, 3001), 'insufficient_quota');
  for (const seed of [1, 2]) assert.equal(await part(seed, 2990), 204);
  assert.equal(await part(3, 2981), 'insufficient_quota');
});

test('a key has quotas of what it keeps beside its tenant: versions, bytes, files, jobs', async (t) => {
  const quotas = new Map<string, Quota>();
  const source = { tenant: () => null, key: (prefix: string) => quotas.get(prefix) ?? null };
  const server = await testApp(t, { quotas: source });
  const make = () => server.keys.create({ tenant: 'a', name: 'k', scopes: ['adapters', 'train'] });
  const [small, other] = [await make(), await make()];
  const send = async ({ key }: { key: string }, url: string, { payload, headers }: ReturnType<typeof formOf>) => {
    const authorization = `Bearer ${key}`;
    const answer = await server.app.inject({ method: 'POST', url, payload, headers: { ...headers, authorization } });
    return [answer.statusCode, answer.json().error?.code ?? null];
  };
  const upload = (key: { key: string }, name: string, seed: number) => {
    const { config, weights } = tinyAdapter(seed);
    return send(
      key,
      '/v1/adapters',
      formOf(
        { name: 'name', content: name },
        { name: 'adapter_config.json', filename: 'adapter_config.json', content: config },
        { name: 'adapter_model.safetensors', filename: 'adapter_model.safetensors', content: weights },
      ),
    );
  };
  const rows = '{"prompt":"a","completion":"b"}\n';
  const file = (key: { key: string }) =>
    send(
      key,
      '/v1/files',
      formOf({ name: 'purpose', content: 'fine-tune' }, { name: 'file', filename: 'r', content: rows }),
    );
  const refused = [429, 'insufficient_quota'];

  quotas.set(small.record.prefix, { adapters: 1, files: 1 });
  assert.deepEqual(await upload(other, 'x', 1), [201, null]);
  assert.deepEqual(await upload(small, 'y', 2), [201, null], "another key's count for that key");
  assert.deepEqual(await upload(small, 'z', 3), refused);
  assert.deepEqual(await upload(other, 'z', 3), [201, null]);
  assert.deepEqual([await file(other), await file(small), await file(small)], [[200, null], [200, null], refused]);
  const { weights } = tinyAdapter(1);
  quotas.set(small.record.prefix, { adapter_bytes: 2 * weights.length - 1, file_bytes: rows.length });
  assert.deepEqual([await upload(small, 'w', 4), await file(small)], [refused, refused]);

  quotas.set(small.record.prefix, { jobs: 1 });
  const createdBy = small.record.prefix;
  const held = { choices: { maxSteps: 1_000_000 } };
  await server.training.create({ tenant: 'a', createdBy: other.record.prefix, ...held });
  await server.training.create({ tenant: 'a', createdBy, ...held });
  const code = await server.training.create({ tenant: 'a', createdBy, ...held }).catch((error) => error.code);
  assert.equal(code, 'insufficient_quota');
});

test('an overload is refused before a body is read, fast, and says when to come again', async (t) => {
  const { app, engine, post } = await testApp(t, { slots: 1, waitingMax: 2, stepMs: null });
  const waiting = [0, 1, 2].map(() => post('/v1/generate', { prompt: 'abcd', max_tokens: 1 }));
  while (engine.submitted.length < 2) await new Promise(setImmediate);
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    const began = performance.now();
    const payload = 'x'.repeat(limits.bodyBytes / 4);
    const refused = await app.inject({
      method: 'POST',
      url: '/v1/generate',
      payload,
      headers: { 'content-type': 'application/json' },
    });
    times.push(performance.now() - began);
    assert.equal(refused.statusCode, 503);
    assert.ok(Number(refused.headers['retry-after']) >= 1);
  }
  times.sort((a, b) => a - b);
  t.diagnostic(`refused in ${times[25]!.toFixed(1)} ms, ${times.at(-1)!.toFixed(1)} at most`);
  await engine.close(0);
  await Promise.all(waiting);
});

test('what would come too late is refused before its adapter is looked for and its grammar compiled', async (t) => {
  const { engine, post } = await testApp(t, { says: 'x' });
  engine.readyInMs = 5000;
  const regex = '(';
  const codeOf = async (timeout_ms: number, body: object) =>
    (await post('/v1/generate', { prompt: 'a', max_tokens: 1, timeout_ms, ...body })).json().error?.code;
  const bad = [{ adapter_id: 'none' }, { structured_outputs: { regex } }, { prompt: 'a'.repeat(100_000) }];
  for (const body of bad) assert.equal(await codeOf(1000, body), 'server_overloaded');
  const codes = await Promise.all(bad.map((body) => codeOf(60_000, body)));
  assert.deepEqual(codes, ['adapter_not_found', 'grammar_invalid', 'context_length_exceeded']);
  assert.equal(engine.submitted.length, 0);
  assert.equal(await codeOf(60_000, {}), undefined);
});

test('a timeout reaches the engine as what is left of it, and is an error of its own', async (t) => {
  const { engine, post } = await testApp(t, { says: 'x', deps: { requestTimeoutMs: 60_000 } });
  await post('/v1/generate', { prompt: 'a', max_tokens: 1, timeout_ms: 5000 });
  await post('/v1/completions', { prompt: 'a', max_tokens: 1 });
  const [own, usual] = engine.submitted.map(({ timeoutMs }) => timeoutMs!);
  assert.ok(own! <= 5000 && own! > 3000, `${own}`);
  assert.ok(usual! <= 60_000 && usual! > 50_000, `${usual}`);
  engine.failure = { code: 'deadline_exceeded', message: 'too late' };
  const late = await post('/v1/generate', { prompt: 'a' });
  assert.deepEqual(
    [late.statusCode, late.json().error.code, late.headers['x-should-retry']],
    [504, 'deadline_exceeded', 'false'],
  );
});
