import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { ChatAnswer, ChatChunk } from '../../src/server/schemas/chat.ts';
import { eventsOf, testApp } from '../helpers/app.ts';

const url = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'hi' }];

type Chunk = {
  id: string;
  created: number;
  model: string;
  choices: { index: number; delta: { role?: string; content?: string }; finish_reason: string | null }[];
  usage?: { total_tokens: number } | null;
};

test('a chat is answered whole, in the shape of its schema', async (t) => {
  const { post } = await testApp(t, { says: 'Hello.' });
  const answer = await post(url, { model: 'tiny', messages });
  assert.ok(Value.Check(ChatAnswer, answer.json()), answer.body);
  const { choices, usage, object } = answer.json();
  assert.equal(object, 'chat.completion');
  assert.deepEqual(choices, [
    {
      index: 0,
      message: { role: 'assistant', content: 'Hello.', refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ]);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
});

test('a stream: the role once, then content, then the reason, then the usage', async (t) => {
  const { post } = await testApp(t, { says: 'aß' });
  const answer = await post(url, { messages, stream: true, stream_options: { include_usage: true } });
  const events = eventsOf(answer.body);
  assert.equal(events.pop(), '[DONE]');
  assert.ok(events.every((event) => Value.Check(ChatChunk, event)));
  const chunks = events as Chunk[];
  assert.equal(new Set(chunks.map(({ id, created, model }) => `${id} ${created} ${model}`)).size, 1);
  const usage = chunks.pop()!;
  assert.deepEqual(usage.choices, []);
  assert.equal(usage.usage?.total_tokens, 20 + 3);
  assert.ok(chunks.every((chunk) => chunk.usage === null));
  assert.deepEqual(
    chunks.map(({ choices }) => [choices[0]!.delta, choices[0]!.finish_reason]),
    [
      [{ role: 'assistant', content: '' }, null],
      [{ content: 'a' }, null],
      [{ content: 'ß' }, null],
      [{}, 'stop'],
    ],
  );
});

test('without include_usage no chunk speaks of usage', async (t) => {
  const { post } = await testApp(t);
  assert.doesNotMatch((await post(url, { messages, stream: true })).body, /usage/);
});

test('each of n choices is streamed under its own index, with its own role', async (t) => {
  const { post } = await testApp(t, { says: 'ab' });
  const chunks = eventsOf((await post(url, { messages, n: 3, stream: true })).body).slice(0, -1) as Chunk[];
  for (const index of [0, 1, 2]) {
    const own = chunks.map(({ choices }) => choices[0]!).filter((choice) => choice.index === index);
    assert.deepEqual(
      own.map(({ delta }) => delta),
      [{ role: 'assistant', content: '' }, { content: 'a' }, { content: 'b' }, {}],
    );
  }
});

test('logprobs carry bytes, and the joined tokens are the text', async (t) => {
  const { post } = await testApp(t, { says: 'aß' });
  const body = { messages, logprobs: true, top_logprobs: 1 };
  const { content } = (await post(url, body)).json().choices[0].logprobs;
  const bytes = content.flatMap((entry: { bytes: number[] }) => entry.bytes);
  assert.equal(Buffer.from(bytes).toString(), 'aß');
  assert.deepEqual(content[0], {
    token: 'a',
    logprob: -0.5,
    bytes: [97],
    top_logprobs: [{ token: 'a', logprob: -0.5, bytes: [97] }],
  });
  const events = eventsOf((await post(url, { ...body, stream: true })).body).slice(0, -1);
  const streamed = (events as { choices: { logprobs: { content: unknown[] } | null }[] }[]).flatMap(
    ({ choices }) => choices[0]!.logprobs?.content ?? [],
  );
  assert.deepEqual(streamed, content);
});

test('max_completion_tokens is the newer name of max_tokens; none means all that the context leaves', async (t) => {
  const { post, engine } = await testApp(t, { maxContext: 100 });
  await post(url, { messages, max_tokens: 3 });
  await post(url, { messages, max_tokens: 3, max_completion_tokens: 4 });
  await post(url, { messages });
  const prompt = engine.submitted[0]!.promptTokens.length;
  assert.deepEqual(
    engine.submitted.map(({ params }) => params.maxTokens),
    [3, 4, 100 - prompt],
  );
});

test('what is not supported is refused by name, its empty forms pass', async (t) => {
  const { post } = await testApp(t);
  const refused: [object, string][] = [
    [{ modalities: ['text', 'audio'] }, 'modalities'],
    [{ functions: [{ name: 'f' }] }, 'functions'],
    [{ messages: [{ role: 'assistant', content: '', function_call: { name: 'f' } }] }, 'messages[0].function_call'],
  ];
  for (const [body, param] of refused) {
    const { error } = (await post(url, { messages, ...body })).json();
    assert.deepEqual([error.code, error.param], ['unsupported_parameter', param]);
  }
  const harmless = { tools: [], tool_choice: 'none', response_format: { type: 'text' }, store: true, metadata: {} };
  assert.equal((await post(url, { messages, ...harmless })).statusCode, 200);
});

test('fields that need another are refused without it', async (t) => {
  const { post } = await testApp(t);
  assert.equal((await post(url, { messages, top_logprobs: 1 })).json().error.param, 'top_logprobs');
  assert.equal(
    (await post(url, { messages, stream_options: { include_usage: true } })).json().error.param,
    'stream_options',
  );
});
