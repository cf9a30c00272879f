// Produces every error code that HTTP can answer, each through HTTP by what a caller may do.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { mergeKey } from '../../src/core/adapter.ts';
import { type ErrorCode, errorTable, LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { listen, type TestApp, type TestAppOptions, testApp } from '../helpers/app.ts';
import { fakeOffline } from '../helpers/fake-offline.ts';
import { until } from '../helpers/waits.ts';
import { formOf, rowsForm } from './form.ts';

type Answer = { statusCode: number; headers: Record<string, unknown>; body: string };
type Cause = { options?: TestAppOptions; ask(app: TestApp): Promise<Answer> };

const url = '/v1/generate';
const prompt = { prompt: 'x' };
const json = { 'content-type': 'application/json' };
const refusing = (error: Error): Cause => ({
  ask({ engine, post }) {
    engine.refusal = error;
    return post(url, prompt);
  },
});
const endpoint = '/v1/completions';
const line = JSON.stringify({ custom_id: 'a', method: 'POST', url: endpoint, body: { prompt: 'x' } });
/**
 * Uploads a file of lines.
 * @returns the body that asks for a batch of it
 */
async function batchOf({ app }: TestApp, content = line) {
  const form = formOf({ name: 'purpose', content: 'batch' }, { name: 'file', filename: 'b.jsonl', content });
  const { id } = (await app.inject({ method: 'POST', url: '/v1/files', ...form })).json();
  return { input_file_id: id, endpoint, completion_window: '24h' };
}

const notAnalysing = (code: ErrorCode): Cause => ({
  options: { deps: { offline: fakeOffline({ analyse: () => Promise.reject(new LorikeetError(code)) }) } },
  async ask({ app, registry }) {
    await registry.add('a');
    return app.inject({ method: 'GET', url: '/v1/adapters/a/analysis' });
  },
});
const posting = (body: object): Cause => ({ ask: ({ post }) => post(url, body) });
const injecting = (request: object): Cause => ({ ask: ({ app }) => app.inject(request) as Promise<Answer> });

/** Sends bytes on a bare socket, since no client library sends such requests. */
async function raw({ app }: TestApp, text: string): Promise<Answer> {
  const socket = connect(await listen(app), '127.0.0.1');
  socket.write(text);
  let received = '';
  for await (const chunk of socket) received += chunk;
  const [head = '', body = ''] = received.split('\r\n\r\n');
  const [status = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => line.split(': ') as [string, string]));
  return { statusCode: Number(status.split(' ')[1]), headers, body };
}

/** The digest of `weights`. */
const digest = `sha256:${createHash('sha256').update('weights').digest('hex')}`;

const append = (app: TestApp['app'], payload: string, offset = 0): Promise<Answer> =>
  app.inject({
    method: 'PATCH',
    url: `/v1/adapters/uploads/${digest}`,
    headers: { 'content-type': 'application/octet-stream', 'upload-offset': String(offset), 'upload-length': '7' },
    payload,
  });

/** An error that the engine reports when it loads the adapter. */
const failing = (code: ErrorCode): Cause => ({
  async ask({ engine, registry, post }) {
    await registry.add('a');
    engine.failure = { code, message: 'So it is.' };
    return post(url, { ...prompt, adapter_id: 'a' });
  },
});

const causes: Partial<Record<ErrorCode, Cause>> = {
  invalid_json: injecting({ method: 'POST', url, headers: json, payload: '{"prompt":' }),
  malformed_request: { ask: (app) => raw(app, 'NONSENSE\r\n\r\n') },
  invalid_parameter: posting({ ...prompt, temperature: 'warm' }),
  missing_parameter: posting({}),
  unknown_parameter: posting({ ...prompt, temprature: 1 }),
  unsupported_parameter: { ask: ({ post }) => post('/v1/completions', { ...prompt, suffix: 'x' }) },
  context_length_exceeded: posting({ prompt: 'x'.repeat(600) }),
  chat_template_failed: posting({ messages: [{ role: 'user', name: 'refused', content: 'x' }] }),
  chat_template_too_slow: {
    options: {
      registry: {
        templates: { base: null, check: () => Promise.reject(new LorikeetError('chat_template_too_slow')) },
      },
    },
    ask({ app }) {
      const file = (name: string, content: string) => ({ name, filename: name, content });
      const parts = [
        file('chat_template.jinja', 'x'),
        file('adapter_config.json', '{"r":8,"target_modules":["q_proj"]}'),
        file('adapter_model.safetensors', 'w'),
      ];
      const form = formOf({ name: 'name', content: 'a' }, ...parts);
      return app.inject({ method: 'POST', url: '/v1/adapters', ...form });
    },
  },
  grammar_invalid: posting({ ...prompt, guided_regex: '(?=a)b' }),
  grammar_too_complex: posting({ ...prompt, guided_json: { enum: ['x'.repeat(limits.grammarChars)] } }),
  invalid_api_key: { options: { deps: { adminKey: 'secret' } }, ask: ({ post }) => post(url, prompt) },
  insufficient_permissions: {
    async ask({ keys, post }) {
      const { key } = await keys.create({ tenant: 'a', name: 'n', scopes: ['metrics'] });
      return post(url, prompt, { authorization: `Bearer ${key}` });
    },
  },
  host_not_allowed: injecting({ url: '/v1/models', headers: { host: 'example.com' } }),
  not_found: injecting({ url: '/v1/nothing' }),
  model_not_found: injecting({ url: '/v1/models/nothing' }),
  method_not_allowed: injecting({ method: 'DELETE', url }),
  request_timeout: {
    options: { deps: { limits: { ...limits, headersTimeoutMs: 40, requestTimeoutMs: 80 } } },
    ask: (app) => raw(app, 'POST /v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n'),
  },
  body_too_large: injecting({ method: 'POST', url, headers: json, payload: ' '.repeat(limits.bodyBytes + 1) }),
  unsupported_media_type: injecting({ method: 'POST', url, headers: { 'content-type': 'text/plain' }, payload: 'x' }),
  headers_too_large: { ask: (app) => raw(app, `GET / HTTP/1.1\r\nx: ${'x'.repeat(limits.headerBytes)}\r\n\r\n`) },
  server_overloaded: {
    options: { stepMs: null, waitingMax: 0 },
    ask: ({ post }) => post(url, prompt),
  },
  server_draining: {
    ask({ engine, post }) {
      engine.state = 'draining';
      return post(url, prompt);
    },
  },
  engine_unavailable: {
    ask({ engine, post }) {
      engine.state = 'starting';
      return post(url, prompt);
    },
  },
  engine_failed: {
    options: { stepMs: 20 },
    async ask({ engine, post }) {
      const answer = post(url, { ...prompt, ignore_eos: true });
      await until(() => engine.stats.running > 0);
      engine.crash();
      return answer;
    },
  },
  logits_not_finite: {
    ask({ engine, post }) {
      engine.failure = { code: 'logits_not_finite', message: 'So it is.' };
      return post(url, prompt);
    },
  },
  adapter_not_found: posting({ ...prompt, adapter_id: 'nothing' }),
  alias_not_found: {
    async ask({ app, registry }) {
      await registry.add('a');
      return app.inject({ method: 'DELETE', url: '/v1/adapters/a/aliases/prod' });
    },
  },
  upload_not_found: { ask: ({ post }) => post('/v1/adapters', { name: 'a', config: '{}', weights: digest }) },
  adapter_invalid: {
    async ask({ app, post }) {
      await append(app, 'weights');
      return post('/v1/adapters', { name: 'a', config: 'no JSON', weights: digest });
    },
  },
  adapter_unsupported: {
    async ask({ app, post }) {
      await append(app, 'weights');
      return post('/v1/adapters', { name: 'a', config: '{"use_dora":true}', weights: digest });
    },
  },
  adapter_too_large: failing('adapter_too_large'),
  adapter_corrupt: failing('adapter_corrupt'),
  adapter_deleting: {
    options: { stepMs: null },
    async ask({ registry, post }) {
      await registry.add('a');
      await registry.lease('default', 'a');
      // The deletion waits until the registry closes.
      registry.delete('default', 'a', null).catch(() => {});
      while ((await registry.find('default', 'a')).state !== 'deleting') await setTimeout(1);
      return post(url, { ...prompt, adapter_id: 'a' });
    },
  },
  alias_changed: {
    async ask({ app, registry }) {
      await registry.add('a');
      const change = { method: 'PUT', url: '/v1/adapters/a/aliases/prod', payload: { version: 1 } } as const;
      await app.inject(change);
      return app.inject({ ...change, headers: { 'if-none-match': '*' } });
    },
  },
  digest_mismatch: { ask: ({ app }) => append(app, 'strange') },
  upload_offset_mismatch: { ask: ({ app }) => append(app, 'weights', 3) },
  too_many_uploads: {
    ask({ registry, post }) {
      registry.stageFailure = new LorikeetError('too_many_uploads', { retryAfterSeconds: 5 });
      return post('/v1/adapters', { name: 'a', config: '{}', weights: digest });
    },
  },
  offline_overloaded: notAnalysing('offline_overloaded'),
  offline_failed: notAnalysing('offline_failed'),
  merge_not_found: {
    async ask({ app, registry }) {
      await registry.add('a');
      return app.inject({ method: 'DELETE', url: '/v1/admin/adapters/a/merge' });
    },
  },
  merge_budget_exceeded: {
    async ask({ engine, registry, post }) {
      const { digest } = await registry.add('a');
      const answer = post('/v1/admin/adapters/a/merge', { wait: true });
      await until(() => engine.merges.size === 1);
      const key = mergeKey([{ files: { digest }, scale: 1 }]);
      engine.tellMerge({ key, state: 'failed', code: 'merge_budget_exceeded', message: 'Too much.' });
      return answer;
    },
  },
  storage_full: {
    ask({ app, registry }) {
      registry.writeFailure = new LorikeetError('storage_full');
      return append(app, 'weights');
    },
  },
  file_not_found: injecting({ url: '/v1/files/file-none' }),
  file_invalid: injecting({ method: 'POST', url: '/v1/files', ...rowsForm('no JSON') }),
  file_in_use: {
    async ask({ app, training }) {
      const { trainingFile } = await training.create();
      return app.inject({ method: 'DELETE', url: `/v1/files/${trainingFile}` });
    },
    options: { trainer: { stepMs: null } },
  },
  file_corrupt: {
    async ask({ app, training }) {
      const file = await training.file();
      writeFileSync(training.files.pathOf(file), 'x'.repeat(file.bytes));
      return app.inject({ url: `/v1/files/${file.id}/content` });
    },
  },
  job_not_found: injecting({ url: '/v1/fine_tuning/jobs/ftjob-none' }),
  job_state_conflict: {
    async ask({ post, training }) {
      const { id } = await training.create();
      await training.reaches(id, 'succeeded');
      return post(`/v1/fine_tuning/jobs/${id}/pause`, {});
    },
  },
  job_limit_exceeded: {
    options: { trainer: { stepMs: null } },
    async ask({ post, training }) {
      const { id: training_file } = await training.file();
      for (let i = 0; i < limits.liveJobs; i++) await post('/v1/fine_tuning/jobs', { training_file });
      return post('/v1/fine_tuning/jobs', { training_file });
    },
  },
  batch_not_found: injecting({ url: '/v1/batches/batch_none' }),
  batch_limit_exceeded: {
    async ask(testing) {
      const body = await batchOf(testing);
      // Lines are answered one after another, and the first one never gets an answer.
      testing.engine.refusal = new LorikeetError('server_overloaded');
      for (let i = 0; i < limits.liveBatches; i++) await testing.post('/v1/batches', body);
      return testing.post('/v1/batches', body);
    },
  },
  batch_state_conflict: {
    async ask(testing) {
      const { id } = (await testing.post('/v1/batches', await batchOf(testing, 'no line'))).json();
      const statusNow = async () => (await testing.app.inject(`/v1/batches/${id}`)).json().status;
      while ((await statusNow()) !== 'failed') await setTimeout(1);
      return testing.post(`/v1/batches/${id}/cancel`, {});
    },
  },
  storage_busy: refusing(new LorikeetError('storage_busy')),
  storage_unavailable: refusing(new LorikeetError('storage_unavailable')),
  key_not_found: injecting({ url: '/v1/admin/keys/0123456789ab' }),
  tenant_not_found: injecting({ url: '/v1/admin/tenants/nobody' }),
  origin_not_allowed: injecting({ url: '/v1/models', headers: { origin: 'https://evil.example' } }),
  too_many_attempts: refusing(new LorikeetError('too_many_attempts')),
  too_many_requests: refusing(new LorikeetError('too_many_requests')),
  request_quarantined: refusing(new LorikeetError('request_quarantined')),
  idempotency_conflict: {
    async ask({ app, training }) {
      const { id: training_file } = await training.file();
      const headers = { 'idempotency-key': 'k' };
      const post = (body: object) =>
        app.inject({ method: 'POST', url: '/v1/fine_tuning/jobs', headers, payload: { training_file, ...body } });
      await post({});
      return post({ seed: 2 });
    },
  },
  rate_limit_exceeded: {
    options: { quota: { requests_per_minute: 0 } },
    ask: ({ post }) => post('/v1/generate', { prompt: 'x' }),
  },
  insufficient_quota: {
    options: { quota: { jobs: 0 } },
    async ask({ post, training }) {
      const { id: training_file } = await training.file();
      return post('/v1/fine_tuning/jobs', { training_file });
    },
  },
  deadline_exceeded: {
    async ask({ post, engine }) {
      engine.failure = { code: 'deadline_exceeded', message: 'It is too late.' };
      const answer = await post('/v1/generate', { prompt: 'x' });
      engine.failure = null;
      return answer;
    },
  },
  internal_error: refusing(new Error('a detail that must not leave')),
};

/** Codes that reach a user through the command line and the log. */
const atStart: ErrorCode[] = [
  'model_file_invalid',
  'model_unsupported',
  'model_unavailable',
  'runtime_unavailable',
  'device_unavailable',
  'invalid_config',
  'memory_exceeded',
  'database_invalid',
  'backup_invalid',
];

/** A code that reaches a user in a job's `error`. */
const inJobs: ErrorCode[] = ['training_failed'];

test('every code of the table is produced or belongs to the start', () => {
  const all = Object.keys(errorTable).sort();
  assert.deepEqual([...Object.keys(causes), ...atStart, ...inJobs].sort(), all);
});

for (const [code, { options, ask }] of Object.entries(causes) as [ErrorCode, Cause][]) {
  test(`${code}: status, body and headers`, async (t) => {
    const testing = await testApp(t, options);
    const answer = await ask(testing);
    const { status, type } = errorTable[code];
    assert.equal(answer.statusCode, status, answer.body);
    const { error, ...rest } = JSON.parse(answer.body);
    assert.deepEqual([error.code, error.type, rest], [code, type, {}]);
    assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
    assert.match(String(answer.headers['content-type']), /^application\/json/);
    assert.ok(answer.headers['x-request-id']);
    assert.doesNotMatch(answer.body, /\bat .*\.[jt]s|detail/);
    if ('retryable' in errorTable[code]) {
      assert.ok(Number(answer.headers['retry-after']) >= 1);
      assert.equal(Number(answer.headers['retry-after-ms']), Number(answer.headers['retry-after']) * 1000);
    } else {
      assert.equal(answer.headers['x-should-retry'], 'false');
    }
    assert.equal(answer.headers['www-authenticate'] !== undefined, status === 401);
    await stillServes(testing, code);
  });
}

async function stillServes({ app, engine }: TestApp, code: ErrorCode) {
  if (engine.state !== 'ready' || ['invalid_api_key', 'insufficient_permissions'].includes(code)) return;
  assert.equal((await app.inject('/v1/models')).statusCode, 200);
}

test('a wrong parameter is named by its path', async (t) => {
  const { post } = await testApp(t);
  const cases: [string, object, string, RegExp][] = [
    [url, { ...prompt, temperature: 3 }, 'temperature', /<= 2/],
    [url, { ...prompt, stop: 7 }, 'stop', /a string of at most 256/],
    [url, { prompt: [1, 'a'] }, 'prompt[1]', /integer/],
    [url, { prompt: [1, 9999] }, 'prompt[1]', /vocabulary/],
    [url, { prompt: '' }, 'prompt', /no tokens/],
    [url, { prompt: { a: 1 } }, 'prompt', /a text or a list of token ids/],
    [url, { ...prompt, messages: [{ role: 'user', content: 'x' }] }, 'messages', /exclude/],
    [url, { messages: [] }, 'messages', /fewer than 1/],
    [url, { messages: [{ role: 'user' }] }, 'messages[0].content', /required/],
    [url, { messages: [{ role: 'nobody', content: 'x' }] }, 'messages[0].role', /one of system, developer/],
    [url, { messages: [{ role: 'user', content: 5 }] }, 'messages[0].content', /a string or a list of text parts/],
    [
      url,
      { messages: [{ role: 'user', content: [{ type: 'image_url', text: '' }] }] },
      'messages[0].content[0]',
      /parts of type "image_url" are not supported/,
    ],
    [
      url,
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'x' },
              { type: 'image_url', image_url: {} },
            ],
          },
        ],
      },
      'messages[0].content[1]',
      /parts of type "image_url" are not supported/,
    ],
    [url, { messages: [{ role: 'user', content: [{ type: 'text' }] }] }, 'messages[0].content[0].text', /required/],
    [url, { ...prompt, logit_bias: { x: 1 } }, 'logit_bias.x', /not one that it takes/],
    [url, { ...prompt, logit_bias: { 99999: 1 } }, 'logit_bias[99999]', /vocabulary/],
    [url, { ...prompt, logit_bias: { 5: 101 } }, 'logit_bias[5]', /<= 100/],
    [url, { ...prompt, seed: 1.5 }, 'seed', /integer/],
    [url, { ...prompt, max_tokens: 0 }, 'max_tokens', />= 1/],
    [url, { ...prompt, adapters: [{ id: 'a', weight: 1 }] }, 'adapters[0].weight', /not a known/],
    [url, { ...prompt, adapter_scale: 1 }, 'adapter_scale', /needs adapter_id/],
    [url, { ...prompt, adapter_id: 'a', adapter_scale: 3 }, 'adapter_scale', /<= 2/],
    [url, { ...prompt, adapter_id: 'a', adapters: [{ id: 'a' }] }, 'adapters', /exclude/],
    [url, { ...prompt, adapters: Array(17).fill({ id: 'a' }) }, 'adapters', /more than 16/],
    ['/v1/completions', { ...prompt, n: 129 }, 'n', /<= 128/],
    ['/v1/completions', { prompt: ['a', 5] }, 'prompt[1]', /string/],
    ['/v1/completions', { prompt: [] }, 'prompt', /a list/],
    ['/v1/completions', { prompt: ['ok', ''] }, 'prompt[1]', /no tokens/],
    ['/v1/chat/completions', { messages: 'hi' }, 'messages', /array/],
  ];
  for (const [address, body, param, message] of cases) {
    const answer = await post(address, body);
    const { error } = answer.json();
    assert.equal(answer.statusCode, 400, JSON.stringify(body));
    assert.equal(error.param, param);
    assert.match(error.message, message);
  }
});

test('a body that is no object is refused', async (t) => {
  const { app } = await testApp(t);
  for (const payload of ['[]', '"x"', 'null', '7']) {
    const answer = await app.inject({ method: 'POST', url, headers: json, payload });
    assert.equal(answer.json().error.message, 'The body must be a JSON object.', payload);
  }
  assert.equal((await app.inject({ method: 'POST', url })).statusCode, 400);
  const poisoned = await app.inject({ method: 'POST', url, headers: json, payload: '{"__proto__":{"stream":true}}' });
  assert.equal(poisoned.json().error.code, 'invalid_json');
});

test('a wrong method tells which are right; a broken address is no crash', async (t) => {
  const { app } = await testApp(t);
  assert.equal((await app.inject({ method: 'PUT', url })).headers.allow, 'POST');
  assert.equal((await app.inject({ method: 'POST', url: '/v1/models/x' })).headers.allow, 'GET, HEAD, DELETE');
  const broken = await app.inject('/v1/models/%E0%A4%A');
  assert.deepEqual([broken.statusCode, broken.json().error.code], [400, 'malformed_request']);
  assert.equal((await app.inject(`/v1/models/${'x'.repeat(1000)}`)).statusCode, 404);
});

test('a text that cannot fit is refused before it is tokenised', async (t) => {
  const { post } = await testApp(t);
  const answer = await post(url, { prompt: 'x'.repeat(1_000_000) });
  assert.match(answer.json().error.message, /1000000 characters/);
});

test("an overloaded server says when to come back, from the pace of the queue's end", async (t) => {
  const { engine, post } = await testApp(t);
  engine.refusal = new LorikeetError('server_overloaded', { retryAfterSeconds: 7 });
  assert.equal((await post(url, prompt)).headers['retry-after'], '7');
});
