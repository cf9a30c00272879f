import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { limits } from '../../src/core/limits.ts';
import { CompletionsAnswer } from '../../src/server/schemas/completions.ts';
import { eventsOf, testApp } from '../helpers/app.ts';

const url = '/v1/completions';

type Chunk = { id: string; object: string; choices: { index: number; text: string; finish_reason: string | null }[] };

test('a prompt may be a text, token ids, or a list of either', async (t) => {
  const { post, engine } = await testApp(t, { says: 'ok' });
  const prompts = ['ab', ['ab', 'c'], [97, 98], [[97, 98], [99]]];
  const choices = [1, 2, 1, 2];
  for (const [i, prompt] of prompts.entries()) {
    const answer = await post(url, { model: 'tiny', prompt });
    assert.ok(Value.Check(CompletionsAnswer, answer.json()), answer.body);
    assert.equal(answer.json().choices.length, choices[i]);
  }
  const submitted = engine.submitted.map(({ promptTokens }) => Buffer.from(promptTokens).toString());
  assert.deepEqual(submitted, ['ab', 'ab', 'c', 'ab', 'ab', 'c']);
  assert.equal(engine.submitted[0]!.params.maxTokens, 16);
});

test('n choices a prompt, each with its own seed; a prompt counts once', async (t) => {
  const { post, engine } = await testApp(t, { says: 'ok' });
  const { choices, usage } = (await post(url, { prompt: ['abc', 'd'], n: 2, seed: 5 })).json();
  assert.deepEqual(
    choices.map(({ index }: { index: number }) => index),
    [0, 1, 2, 3],
  );
  assert.deepEqual(
    engine.submitted.map(({ params }) => params.seed),
    [5, 6, 5, 6],
  );
  assert.deepEqual(usage, {
    prompt_tokens: 4,
    completion_tokens: 8,
    total_tokens: 12,
    prompt_tokens_details: { cached_tokens: 0 },
  });
});

test('a stream has chunks of one id for every choice, and one finish reason each', async (t) => {
  const { post } = await testApp(t, { says: 'aß' });
  const events = eventsOf((await post(url, { prompt: ['x', 'y'], stream: true })).body);
  assert.equal(events.pop(), '[DONE]');
  const chunks = events as Chunk[];
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  assert.ok(chunks.every(({ object }) => object === 'text_completion'));
  for (const choice of [0, 1]) {
    const own = chunks.map(({ choices }) => choices[0]!).filter(({ index }) => index === choice);
    assert.deepEqual(
      own.map(({ text, finish_reason }) => [text, finish_reason]),
      [
        ['a', null],
        ['ß', null],
        ['', 'stop'],
      ],
    );
  }
});

test("logprobs have OpenAI's older shape, offsets counted in the text", async (t) => {
  const { post } = await testApp(t, { says: 'aß!' });
  const whole = (await post(url, { prompt: 'x', logprobs: 1 })).json().choices[0].logprobs;
  assert.deepEqual(whole, {
    tokens: ['a', 'bytes:\\xc3', 'bytes:\\x9f', '!'],
    token_logprobs: [-0.5, -0.5, -0.5, -0.5],
    top_logprobs: [{ a: -0.5 }, { 'bytes:\\xc3': -0.5 }, { 'bytes:\\x9f': -0.5 }, { '!': -0.5 }],
    text_offset: [0, 1, 1, 2],
  });
  const events = eventsOf((await post(url, { prompt: 'x', logprobs: 1, stream: true })).body).slice(0, -2);
  const parts = (events as { choices: { logprobs: typeof whole }[] }[]).map(({ choices }) => choices[0]!.logprobs);
  assert.deepEqual(
    parts.flatMap(({ text_offset }) => text_offset),
    whole.text_offset,
  );
});

test('what would change the answer and is not there is refused by name; the rest is ignored, and named', async (t) => {
  const { post, log } = await testApp(t);
  const refused = { suffix: 'x', prompt_logprobs: 4, adapter_id: 'a' };
  for (const [name, value] of Object.entries(refused)) {
    const { error } = (await post(url, { prompt: 'x', [name]: value })).json();
    assert.deepEqual([error.code, error.param], ['unsupported_parameter', name]);
  }
  const harmless = { suffix: '', echo: false, best_of: 1, user: 'somebody', frobnicate: 1 };
  const answer = await post(url, { prompt: 'x', ...harmless });
  assert.deepEqual([answer.statusCode, answer.headers['x-ignored-parameters']], [200, 'user, frobnicate']);
  const said = 'parameters that are not known here were ignored';
  assert.deepEqual(log.find(({ msg }) => msg === said)?.ignored, ['user', 'frobnicate']);
});

test('a name near a known one is a typing error', async (t) => {
  const { post } = await testApp(t);
  for (const [written, meant] of Object.entries({ temprature: 'temperature', max_token: 'max_tokens', top_a: null })) {
    const { error } = (await post(url, { prompt: 'x', [written]: 1 })).json();
    assert.deepEqual(
      [error.code, error.param],
      [meant === null ? 'unsupported_parameter' : 'unknown_parameter', written],
    );
    if (meant !== null) assert.match(error.message, new RegExp(`Did you mean ${meant}\\?`));
  }
});

test('prompts times choices are bounded together', async (t) => {
  const { post } = await testApp(t);
  const { error } = (await post(url, { prompt: Array(100).fill('x'), n: 2 })).json();
  assert.deepEqual([error.code, error.param], ['invalid_parameter', 'n']);
});

test('a whole answer tells so many log-probabilities and no more; a stream tells them one by one', async (t) => {
  const { post } = await testApp(t, {
    says: 'abc',
    maxContext: 200,
    deps: { limits: { ...limits, answerLogprobs: 50 } },
  });
  const codeOf = async (url: string, body: object) => {
    const { statusCode, body: text } = await post(url, { max_tokens: 5, ...body });
    return statusCode === 200 ? 200 : JSON.parse(text).error.code;
  };
  const chat = { messages: [{ role: 'user', content: 'x' }], logprobs: true };
  const cases: [string, object, unknown][] = [
    ['/v1/completions', { prompt: 'x', logprobs: 9 }, 200],
    ['/v1/completions', { prompt: 'x', logprobs: 10 }, 'invalid_parameter'],
    ['/v1/completions', { prompt: 'x', logprobs: 10, stream: true }, 200],
    ['/v1/completions', { prompt: 'x'.repeat(25), logprobs: 1, echo: true, max_tokens: 0 }, 'invalid_parameter'],
    ['/v1/completions', { prompt: 'x'.repeat(24), logprobs: 1, echo: true, max_tokens: 0 }, 200],
    ['/v1/chat/completions', { ...chat, n: 3, top_logprobs: 3 }, 'invalid_parameter'],
    ['/v1/chat/completions', { ...chat, n: 3, top_logprobs: 2 }, 200],
    ['/v1/generate', { prompt: 'x', logprobs: 10 }, 'invalid_parameter'],
  ];
  for (const [url, body, said] of cases) assert.equal(await codeOf(url, body), said, JSON.stringify(body));
});
