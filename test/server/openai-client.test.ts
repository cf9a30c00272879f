// OpenAI's own client, unmodified, against the app on a loopback port.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import OpenAI, { toFile } from 'openai';
import { LorikeetError } from '../../src/core/errors.ts';
import { listen, type TestAppOptions, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'hi' }];
const model = 'tiny';

async function client(t: TestContext, options: TestAppOptions = {}) {
  const testing = await testApp(t, options);
  const { key } = await testing.keys.create({ tenant: 'a', name: 'n', scopes: ['generate', 'adapters'] });
  const baseURL = `http://127.0.0.1:${await listen(testing.app)}/v1`;
  return { ...testing, baseURL, openai: new OpenAI({ apiKey: key, baseURL, maxRetries: 0 }) };
}

test('chat, whole', async (t) => {
  const { openai } = await client(t, { says: 'Hello.' });
  const asking = openai.chat.completions.create({ model, messages, user: 'u' });
  const { data, request_id } = await asking.withResponse();
  assert.equal(data.choices[0]?.message.content, 'Hello.');
  assert.equal(data.choices[0]?.finish_reason, 'stop');
  assert.match(String(request_id), /^req-/);
});

test('chat, streamed with usage', async (t) => {
  const { openai } = await client(t, { says: 'Grüße 👋' });
  const stream = await openai.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '';
  let tokens = 0;
  for await (const { choices, usage } of stream) {
    text += choices[0]?.delta.content ?? '';
    tokens = usage?.completion_tokens ?? 0;
  }
  assert.equal(text, 'Grüße 👋');
  assert.equal(tokens, Buffer.byteLength(text));
});

test("the client's stream helper puts the answer together", async (t) => {
  const { openai } = await client(t, { says: 'ab' });
  const final = await openai.chat.completions.stream({ model, messages, n: 2, logprobs: true }).finalChatCompletion();
  assert.deepEqual(
    final.choices.map(({ message, logprobs }) => [message.role, message.content, logprobs?.content?.length]),
    [
      ['assistant', 'ab', 2],
      ['assistant', 'ab', 2],
    ],
  );
});

test('completions, whole and streamed', async (t) => {
  const { openai } = await client(t, { says: 'ok' });
  const whole = await openai.completions.create({ model, prompt: ['a', 'b'], logprobs: 1 });
  assert.deepEqual(
    whole.choices.map(({ text, logprobs }) => [text, logprobs?.tokens]),
    [
      ['ok', ['o', 'k']],
      ['ok', ['o', 'k']],
    ],
  );
  let text = '';
  for await (const chunk of await openai.completions.create({ model, prompt: 'a', stream: true })) {
    text += chunk.choices[0]?.text;
  }
  assert.equal(text, 'ok');
});

test('models', async (t) => {
  const { openai } = await client(t);
  const ids = [];
  for await (const { id } of openai.models.list()) ids.push(id);
  assert.deepEqual(ids, [model]);
  assert.equal((await openai.models.retrieve(model)).owned_by, 'lorikeet');
});

test('an adapter is a model: listed after the base model, asked for by name, deleted', async (t) => {
  const { openai, registry } = await client(t, { says: 'ok' });
  const { digest } = await registry.add('org/style', { tenant: 'a' });
  const ids = [];
  for await (const { id } of openai.models.list()) ids.push(id);
  assert.deepEqual(ids, [model, 'org/style']);
  assert.equal((await openai.models.retrieve('org/style@1')).id, 'org/style@1');
  const asking = openai.chat.completions.create({ model: 'org/style', messages });
  const { data, response } = await asking.withResponse();
  assert.deepEqual([data.model, response.headers.get('x-adapter-digest')], ['org/style', digest]);
  for await (const chunk of await openai.completions.create({ model: 'org/style', prompt: 'a', stream: true })) {
    assert.equal(chunk.model, 'org/style');
  }
  assert.equal((await openai.models.delete('org/style')).deleted, true);
  await assert.rejects(openai.models.retrieve('org/style'), OpenAI.NotFoundError);
});

test('errors arrive as the classes that the client has for them', async (t) => {
  const { openai, engine, baseURL } = await client(t);
  const ask = (body: object = {}, by = openai) => by.chat.completions.create({ model, messages, ...body });
  await assert.rejects(ask({ model: 'none' }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.code, error.param, error.type], ['model_not_found', 'model', 'not_found_error']);
    assert.ok(error.requestID);
    return true;
  });
  await assert.rejects(ask({ temperature: 9 }), OpenAI.BadRequestError);
  await assert.rejects(ask({}, new OpenAI({ apiKey: 'sk-x', baseURL, maxRetries: 0 })), OpenAI.AuthenticationError);
  engine.refusal = new LorikeetError('server_overloaded', { retryAfterSeconds: 1 });
  await assert.rejects(ask(), OpenAI.InternalServerError);
});

test('the client retries an overloaded server, and no refusal that is final', async (t) => {
  const { openai, engine, log } = await client(t, { says: 'ok' });
  const retrying = openai.withOptions({ maxRetries: 1 });
  engine.refusal = new LorikeetError('engine_unavailable', { retryAfterSeconds: 1 });
  const answer = retrying.chat.completions.create({ model, messages });
  await until(() => log.some(({ status }) => status === 503));
  engine.refusal = null;
  assert.equal((await answer).choices[0]?.message.content, 'ok');
  engine.refusal = new Error('a bug');
  await assert.rejects(async () => retrying.chat.completions.create({ model, messages }));
  assert.equal(log.filter(({ status }) => status === 500).length, 1);
});

test('a failure in a stream is an error of the client', async (t) => {
  const { openai, engine } = await client(t, { stepMs: null });
  const asking = openai.chat.completions.create({ model, messages, stream: true });
  await until(() => engine.stats.waiting === 1);
  engine.step();
  const stream = await asking;
  engine.crash();
  await assert.rejects(async () => {
    for await (const _chunk of stream);
  }, OpenAI.APIError);
});

test('an aborted stream ends the sequence', async (t) => {
  const { openai, engine } = await client(t, { stepMs: 1, says: 'a'.repeat(10_000), maxContext: 20_000 });
  const stream = await openai.chat.completions.create({ model, messages, stream: true });
  for await (const _chunk of stream) break;
  await until(() => engine.ended.length === 1);
  assert.deepEqual(engine.ended, ['abort']);
});

const rows = Array.from({ length: 4 }, (_, i) => `{"prompt":"${i} and","completion":" ${i + 1}"}\n`).join('');
const rowsFile = () => toFile(Buffer.from(rows), 'rows.jsonl');

async function trainingClient(t: TestContext, options: TestAppOptions = {}) {
  const testing = await testApp(t, options);
  const { key } = await testing.keys.create({ tenant: 'a', name: 'n', scopes: ['generate', 'train'] });
  const baseURL = `http://127.0.0.1:${await listen(testing.app)}/v1`;
  return { ...testing, openai: new OpenAI({ apiKey: key, baseURL, maxRetries: 0 }) };
}

test('files', async (t) => {
  const { openai } = await trainingClient(t);
  const file = await openai.files.create({ file: await rowsFile(), purpose: 'fine-tune' });
  assert.deepEqual([file.object, file.bytes, file.filename], ['file', rows.length, 'rows.jsonl']);
  assert.equal((await openai.files.waitForProcessing(file.id)).status, 'processed');
  const ids = [];
  for await (const { id } of openai.files.list({ limit: 1 })) ids.push(id);
  assert.deepEqual(ids, [file.id]);
  assert.equal(await (await openai.files.content(file.id)).text(), rows);
  assert.equal((await openai.files.delete(file.id)).deleted, true);
  await assert.rejects(openai.files.retrieve(file.id), OpenAI.NotFoundError);
  const bad = await toFile(Buffer.from('no JSON'), 'rows.jsonl');
  await assert.rejects(openai.files.create({ file: bad, purpose: 'fine-tune' }), OpenAI.BadRequestError);
});

test('a training from its rows to an answer', async (t) => {
  const { openai } = await trainingClient(t, { says: 'ok' });
  const file = await openai.files.create({ file: await rowsFile(), purpose: 'fine-tune' });
  const { id } = await openai.fineTuning.jobs.create({
    model,
    training_file: file.id,
    suffix: 'mine',
    method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: 2, batch_size: 1 } } },
  });
  let job = await openai.fineTuning.jobs.retrieve(id);
  for (; job.finished_at === null; job = await openai.fineTuning.jobs.retrieve(id)) await nextTurn();
  assert.deepEqual([job.status, job.fine_tuned_model, job.hyperparameters.n_epochs], ['succeeded', 'mine@1', 2]);
  const messages = [];
  for await (const event of openai.fineTuning.jobs.listEvents(id, { limit: 3 })) messages.push(event.message);
  assert.equal(messages[0], 'The job has successfully completed');
  assert.equal(messages.filter((message) => message.startsWith('Step ')).length, 8);
  for await (const checkpoint of openai.fineTuning.jobs.checkpoints.list(id)) {
    assert.match(checkpoint.fine_tuned_model_checkpoint, /^mine\/step-\d$/);
  }
  const listed = [];
  for await (const one of openai.fineTuning.jobs.list()) listed.push(one.id);
  assert.deepEqual(listed, [id]);
  const answer = await openai.completions.create({ model: job.fine_tuned_model!, prompt: 'x' });
  assert.equal(answer.choices[0]?.text, 'ok');
});

test('a training is paused, resumed and cancelled', async (t) => {
  const { openai, training } = await trainingClient(t, { trainer: { stepMs: null } });
  const file = await openai.files.create({ file: await rowsFile(), purpose: 'fine-tune' });
  const { id } = await openai.fineTuning.jobs.create({ model, training_file: file.id, seed: 3 });
  await until(() => training.trainer.alive === 1);
  assert.equal((await openai.fineTuning.jobs.pause(id)).id, id);
  await until(() => training.trainer.alive === 0);
  await openai.fineTuning.jobs.resume(id);
  await until(() => training.trainer.alive === 1);
  assert.equal((await openai.fineTuning.jobs.cancel(id)).status, 'cancelled');
  await assert.rejects(openai.fineTuning.jobs.resume(id), OpenAI.ConflictError);
});
