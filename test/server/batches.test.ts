// /v1/batches: a file of requests, its answers and errors as files, cancellation and expiry.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { LorikeetError } from '../../src/core/errors.ts';
import { type TestApp, testApp } from '../helpers/app.ts';
import { waitFor } from '../helpers/waits.ts';
import { formOf } from './form.ts';

const endpoint = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'Hi' }];

const lineOf = (custom_id: string, body: object = { messages }, more: object = {}) =>
  JSON.stringify({ custom_id, method: 'POST', url: endpoint, body, ...more });

/** Interval and number of polls: minutes in all, far more than a loaded machine needs. */
const [waitMs, waitsMax] = [5, 40_000];

type Headers = Record<string, string>;

async function upload({ app }: TestApp, lines: readonly string[], headers: Headers = {}): Promise<string> {
  const form = formOf(
    { name: 'file', filename: 'b.jsonl', content: lines.join('\n') },
    { name: 'purpose', content: 'batch' },
  );
  const options = { method: 'POST', url: '/v1/files', payload: form.payload } as const;
  const answer = await app.inject({ ...options, headers: { ...form.headers, ...headers } });
  assert.equal(answer.statusCode, 200, answer.body);
  assert.equal(answer.json().purpose, 'batch');
  return answer.json().id;
}

async function make(testing: TestApp, lines: readonly string[], headers: Headers = {}) {
  const input_file_id = await upload(testing, lines, headers);
  const answer = await testing.post(
    '/v1/batches',
    { input_file_id, endpoint, completion_window: '24h', metadata: { a: 'b' } },
    headers,
  );
  assert.equal(answer.statusCode, 200, answer.body);
  return answer.json();
}

async function reaches({ app }: TestApp, id: string, status: string, headers: Headers = {}) {
  for (let waits = 0; waits < waitsMax; waits++) {
    const batch = (await app.inject({ url: `/v1/batches/${id}`, headers })).json();
    if (batch.status === status) return batch;
    if (['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) assert.fail(JSON.stringify(batch));
    await setTimeout(waitMs);
  }
  return assert.fail(`${id} never was ${status}`);
}

async function linesOfFile({ app }: TestApp, id: string, headers: Headers = {}) {
  const content = await app.inject({ url: `/v1/files/${id}/content`, headers });
  assert.equal(content.statusCode, 200, content.body);
  return content.body
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

test('each line is answered as its route answers, what fails stands in a file of its own', async (t) => {
  const testing = await testApp(t, { says: 'Hello' });
  const lines = [
    ...[lineOf('a'), lineOf('b', { messages, max_tokens: 2 })],
    ...[lineOf('c', { model: 'nobody', messages }), lineOf('d', { messages, seed: 1.5 }), ''],
  ];
  const made = await make(testing, lines);
  assert.match(made.id, /^batch_/);
  const { created_at, expires_at, object, metadata, completion_window } = made;
  assert.deepEqual(
    [object, metadata, completion_window, expires_at - created_at],
    ['batch', { a: 'b' }, '24h', 86_400],
  );
  const done = await reaches(testing, made.id, 'completed');
  assert.deepEqual([done.request_counts, done.errors], [{ total: 4, completed: 2, failed: 2 }, null]);
  for (const time of ['in_progress_at', 'finalizing_at', 'completed_at']) assert.ok(done[time] >= created_at, time);
  const output = await linesOfFile(testing, done.output_file_id);
  assert.deepEqual(
    output.map(({ custom_id, error, response }) => [custom_id, error, response.status_code, response.body.object]),
    [
      ['a', null, 200, 'chat.completion'],
      ['b', null, 200, 'chat.completion'],
    ],
  );
  const contents = output.map(({ response }) => response.body.choices[0].message.content);
  assert.deepEqual(contents, ['Hello', 'He']);
  assert.match(output[0].response.request_id, /^req-/);
  const errors = await linesOfFile(testing, done.error_file_id);
  assert.deepEqual(
    errors.map(({ custom_id, response }) => [custom_id, response.status_code, response.body.error.code]),
    [
      ['c', 404, 'model_not_found'],
      ['d', 400, 'invalid_parameter'],
    ],
  );
  const file = (await testing.app.inject(`/v1/files/${done.output_file_id}`)).json();
  assert.deepEqual([file.purpose, file.rows, file.filename], ['batch_output', 2, `${made.id}_output.jsonl`]);
  // Lines have a lower priority than the tenant's other requests, and are counted like them.
  assert.ok(testing.engine.submitted.every(({ share }) => share?.priority === 0.05));
  const usage = (await testing.app.inject('/v1/usage')).json();
  assert.equal(usage.totals?.requests ?? usage.data[0].requests, 2);
  const again = await testing.post(`/v1/batches/${made.id}/cancel`, {});
  assert.deepEqual([again.statusCode, again.json().error.code], [409, 'batch_state_conflict']);
});

test('a file that is not all good is refused by its lines, and no line is asked', async (t) => {
  const testing = await testApp(t);
  const lines = [
    ...[lineOf('a'), 'nothing', lineOf('a'), lineOf('b', {}, { method: 'GET' }), lineOf('c', {}, { url: '/v1/x' })],
    ...['{}', lineOf('', {}), lineOf('e', { stream: true }), lineOf('f', {}, { priority: 1 }), '[]'],
  ];
  const { id } = await make(testing, lines);
  const failed = await reaches(testing, id, 'failed');
  assert.deepEqual(
    failed.errors.data.map(({ line, code, param }: Record<string, unknown>) => [line, code, param]),
    [
      [2, 'invalid_json_line', 'line'],
      [3, 'duplicate_custom_id', 'custom_id'],
      [4, 'invalid_method', 'method'],
      [5, 'invalid_url', 'url'],
      [6, 'missing_required_parameter', 'custom_id'],
      [7, 'invalid_custom_id', 'custom_id'],
      [8, 'invalid_request', 'body.stream'],
      [9, 'unknown_parameter', 'priority'],
      [10, 'invalid_json_line', 'line'],
    ],
  );
  assert.equal(testing.engine.submitted.length, 0);
  const empty = await make(testing, ['']);
  assert.equal((await reaches(testing, empty.id, 'failed')).errors.data[0].code, 'empty_file');
});

test('what cannot be a batch is refused by its parameter', async (t) => {
  const testing = await testApp(t);
  const input_file_id = await upload(testing, [lineOf('a')]);
  const body = { input_file_id, endpoint, completion_window: '24h' };
  for (const [change, status, param] of [
    [{ completion_window: '1h' }, 400, 'completion_window'],
    [{ endpoint: '/v1/models' }, 400, 'endpoint'],
    [{ input_file_id: 'file-none' }, 404, 'input_file_id'],
    [{ output_expires_after: { seconds: 1 } }, 400, 'output_expires_after'],
  ] as const) {
    const answer = await testing.post('/v1/batches', { ...body, ...change });
    assert.deepEqual([answer.statusCode, answer.json().error.param], [status, param]);
  }
  const rows = await testing.training.file();
  const wrong = await testing.post('/v1/batches', { ...body, input_file_id: rows.id });
  assert.match(wrong.json().error.message, /purpose is fine-tune/);
  const job = await testing.post('/v1/fine_tuning/jobs', { training_file: input_file_id });
  assert.match(job.json().error.message, /purpose is batch/);
  assert.equal((await testing.app.inject('/v1/batches/batch_none')).json().error.code, 'batch_not_found');
});

test('a cancelled batch lets go of the engine, keeps what it has, and says what was not asked', async (t) => {
  const testing = await testApp(t, { stepMs: null, slots: 2 });
  const lines = ['a', 'b', 'c'].map((id) => lineOf(id));
  const { id, input_file_id } = await make(testing, lines);
  await waitFor('a line at the engine', () => testing.engine.submitted.length > 0);
  const used = await testing.app.inject({ method: 'DELETE', url: `/v1/files/${input_file_id}` });
  assert.equal(used.json().error.code, 'file_in_use');
  const cancelling = (await testing.post(`/v1/batches/${id}/cancel`, {})).json();
  assert.ok(['cancelling', 'cancelled'].includes(cancelling.status));
  const page = { tenant: null, actor: null, since: null, until: null, before: null, limit: 1 };
  const [row] = await testing.audit.read({ ...page, action: 'batches.cancel' });
  assert.deepEqual(
    [row!.target, row!.before, row!.after],
    [...[id, { status: 'in_progress' }, { status: cancelling.status }]],
  );
  const cancelled = await reaches(testing, id, 'cancelled');
  assert.deepEqual([cancelled.output_file_id, cancelled.request_counts.completed], [null, 0]);
  const errors = await linesOfFile(testing, cancelled.error_file_id);
  assert.deepEqual(
    errors.map(({ custom_id, response, error }) => [custom_id, response, error.code]),
    ['a', 'b', 'c'].map((custom) => [custom, null, 'batch_cancelled']),
  );
  testing.engine.step();
  assert.deepEqual([...new Set(testing.engine.ended)], ['abort']);
  assert.equal((await testing.app.inject({ method: 'DELETE', url: `/v1/files/${input_file_id}` })).statusCode, 200);
});

test('a line that is refused for the moment is asked again', async (t) => {
  const testing = await testApp(t, { says: 'ok' });
  testing.engine.refusal = new LorikeetError('server_overloaded');
  const { id } = await make(testing, [lineOf('a')]);
  await reaches(testing, id, 'in_progress');
  await waitFor('a refusal', () => testing.log.some(({ path, status }) => path === endpoint && status === 503));
  testing.engine.refusal = null;
  const { request_counts } = await reaches(testing, id, 'completed');
  assert.deepEqual(request_counts, { total: 1, completed: 1, failed: 0 });
});

test('a batch is its tenant, and has what its key may use by then', async (t) => {
  const testing = await testApp(t, { says: 'ok', deps: { adminKey: 'root' } });
  const keyOf = async (tenant: string) => {
    const { key, record } = await testing.keys.create({ tenant, name: 'n', scopes: ['generate'] });
    return { headers: { authorization: `Bearer ${key}` }, prefix: record.prefix };
  };
  const [mine, theirs] = [await keyOf('a'), await keyOf('b')];
  const { id } = await make(testing, [lineOf('a')], mine.headers);
  const done = await reaches(testing, id, 'completed', mine.headers);
  for (const path of [`/v1/batches/${id}`, `/v1/files/${done.output_file_id}`]) {
    assert.equal((await testing.app.inject({ url: path, headers: theirs.headers })).statusCode, 404, path);
  }
  const list = async (headers: Headers) => (await testing.app.inject({ url: '/v1/batches', headers })).json();
  assert.deepEqual([(await list(mine.headers)).data.length, (await list(theirs.headers)).data.length], [1, 0]);
  // A request cannot pass as a line by sending the header.
  const guess = await testing.post(endpoint, { messages }, { 'x-lorikeet-line': '1' });
  assert.equal(guess.statusCode, 401);
  // The key is revoked while its batch waits behind another one that does not end.
  testing.engine.refusal = new LorikeetError('server_overloaded');
  const late = await make(testing, [lineOf('z')], mine.headers);
  await reaches(testing, late.id, 'in_progress', mine.headers);
  await testing.keys.revoke(mine.prefix);
  testing.engine.refusal = null;
  const other = (await keyOf('a')).headers;
  const refused = await reaches(testing, late.id, 'completed', other);
  const [error] = await linesOfFile(testing, refused.error_file_id, other);
  assert.deepEqual([error.response.status_code, error.response.body.error.code], [401, 'invalid_api_key']);
});
