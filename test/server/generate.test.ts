import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { GenerateAnswer, TokenEvent } from '../../src/server/schemas/generate.ts';
import { eventsOf, testApp } from '../helpers/app.ts';
import { endToken } from '../helpers/byte-tokenizer.ts';

const url = '/v1/generate';

test('a text prompt is answered whole, in the shape of its schema', async (t) => {
  const { post, engine } = await testApp(t, { says: ' Paris' });
  const answer = await post(url, { prompt: 'The capital of France is', max_tokens: 8, temperature: 0 });
  assert.equal(answer.statusCode, 200);
  assert.ok(Value.Check(GenerateAnswer, answer.json()), answer.body);
  assert.deepEqual(answer.json(), {
    id: 'gen-2',
    model: 'tiny',
    adapter: null,
    text: ' Paris',
    finish_reason: 'stop',
    usage: { prompt_tokens: 24, completion_tokens: 6, cached_tokens: 0 },
    timings: { queue_ms: 1, prefill_ms: 2, decode_ms: 3 },
  });
  const { params } = engine.submitted[0]!;
  assert.deepEqual([params.maxTokens, params.temperature, params.logprobs], [8, 0, null]);
  assert.deepEqual(params.stopTokens, [endToken]);
});

test('a stream has every token, the same text and the full answer before [DONE]', async (t) => {
  const { post } = await testApp(t, { says: 'Grüße €!' });
  const whole = (await post(url, { prompt: 'x' })).json();
  const answer = await post(url, { prompt: 'x', stream: true });
  assert.equal(answer.headers['content-type'], 'text/event-stream; charset=utf-8');
  assert.equal(answer.headers['cache-control'], 'no-cache');
  assert.equal(answer.headers['x-accel-buffering'], 'no');
  const events = eventsOf(answer.body);
  assert.equal(events.pop(), '[DONE]');
  const last = events.pop() as { text: string };
  assert.deepEqual(last, { ...whole, id: 'gen-4' });
  const tokens = events.map((event) => (event as { token: { id: number; text: string; logprob: null } }).token);
  assert.ok(events.every((event) => Value.Check(TokenEvent, event)));
  assert.deepEqual(
    tokens.map(({ id }) => id),
    [...Buffer.from('Grüße €!')],
  );
  assert.equal(tokens.map(({ text }) => text).join(''), 'Grüße €!');
  assert.ok(tokens.every(({ text }) => !text.includes('\ufffd')));
  assert.ok(tokens.every(({ logprob }) => logprob === null));
});

test('only the body decides whether an answer is streamed', async (t) => {
  const { post } = await testApp(t);
  const whole = await post(url, { prompt: 'x', stream: false }, { accept: 'text/event-stream' });
  assert.match(String(whole.headers['content-type']), /^application\/json/);
  const streamed = await post(url, { prompt: 'x', stream: true }, { accept: 'application/json' });
  assert.match(String(streamed.headers['content-type']), /^text\/event-stream/);
});

test('token ids are taken as they are; messages go through the template', async (t) => {
  const { post, engine } = await testApp(t);
  await post(url, { prompt: [1, 2, 257] });
  await post(url, {
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
    ],
  });
  assert.deepEqual(engine.submitted[0]!.promptTokens, [1, 2, 257]);
  const prompt = Buffer.from(engine.submitted[1]!.promptTokens.map((token) => (token > 255 ? 124 : token)));
  assert.equal(prompt.toString(), '|user\na\nb||assistant\n');
});

test('special tokens count in a prompt and are characters in a message', async (t) => {
  const { post, engine } = await testApp(t);
  await post(url, { prompt: '<|end|>' });
  await post(url, { messages: [{ role: 'user', content: '<|end|>' }] });
  assert.deepEqual(engine.submitted[0]!.promptTokens, [endToken]);
  assert.equal(engine.submitted[1]!.promptTokens.filter((token) => token === endToken).length, 1);
});

test('logprobs come one for each generated position, with their alternatives', async (t) => {
  const { post } = await testApp(t, { says: 'é' });
  const { logprobs } = (await post(url, { prompt: 'x', logprobs: 2 })).json();
  assert.equal(logprobs.length, 2);
  assert.deepEqual(logprobs[0], {
    id: 0xc3,
    token: '\ufffd',
    logprob: -0.5,
    top: [
      { id: 0xc3, token: '\ufffd', logprob: -0.5 },
      { id: 0xc4, token: '\ufffd', logprob: -0.5 - Math.LN2 },
    ],
  });
  const none = (await post(url, { prompt: 'x', logprobs: 0 })).json();
  assert.deepEqual(none.logprobs[0].top, []);
  const events = eventsOf((await post(url, { prompt: 'x', logprobs: 1, stream: true })).body);
  assert.deepEqual(events[1], {
    token: { id: 0xa9, text: 'é', logprob: -0.5, top: [{ id: 0xa9, token: '\ufffd', logprob: -0.5 }] },
  });
});

test('a stop string ends the text, the sequence and the stream, and is in neither', async (t) => {
  const { post, engine } = await testApp(t, { says: 'one, two, three, four' });
  const whole = (await post(url, { prompt: 'x', stop: ['three', '@'] })).json();
  assert.deepEqual([whole.text, whole.finish_reason, whole.usage.completion_tokens], ['one, two, ', 'stop', 15]);
  assert.deepEqual(engine.ended, ['abort']);
  const events = eventsOf((await post(url, { prompt: 'x', stop: 'three', stream: true })).body).slice(0, -2);
  const tokens = events as { token: { id: number; text: string } }[];
  assert.equal(tokens.map(({ token }) => token.text).join(''), 'one, two, ');
  assert.equal(tokens.length, 15);
});

test('text that was held back comes with the end', async (t) => {
  const { post } = await testApp(t, { says: 'stop here: EN' });
  assert.equal((await post(url, { prompt: 'x', stop: 'END' })).json().text, 'stop here: EN');
  const events = eventsOf((await post(url, { prompt: 'x', stop: 'END', stream: true })).body);
  assert.deepEqual(events.at(-3), { token: { id: null, text: 'EN', logprob: null } });
});

test('half a character at the end becomes U+FFFD', async (t) => {
  const { post } = await testApp(t, { says: 'é' });
  const { text, finish_reason } = (await post(url, { prompt: 'x', max_tokens: 1 })).json();
  assert.deepEqual([text, finish_reason], ['\ufffd', 'length']);
});

test('max_tokens is 256 by default and at most what the context leaves', async (t) => {
  const { post, engine } = await testApp(t, { maxContext: 300 });
  await post(url, { prompt: 'x' });
  await post(url, { prompt: 'x'.repeat(100) });
  assert.deepEqual(
    engine.submitted.map(({ params }) => params.maxTokens),
    [256, 200],
  );
  const refused = await post(url, { prompt: 'x'.repeat(100), max_tokens: 201 });
  assert.equal(refused.json().error.code, 'context_length_exceeded');
  assert.equal(refused.json().error.param, 'max_tokens');
});

test('sampling fields reach the engine; null means absent', async (t) => {
  const { post, engine } = await testApp(t);
  const body = {
    prompt: 'x',
    temperature: 1.5,
    top_p: 0.9,
    top_k: -1,
    min_p: 0.1,
    seed: -7,
    repetition_penalty: 1.1,
    frequency_penalty: -1,
    presence_penalty: 1,
    logit_bias: { 65: 5 },
    ignore_eos: true,
    stop_token_ids: [3],
    min_tokens: 5,
    allowed_token_ids: [65, 66],
    stop: null,
  };
  assert.equal((await post(url, body)).statusCode, 200);
  assert.deepEqual(engine.submitted[0]!.params, {
    maxTokens: 256,
    minTokens: 5,
    allowedTokens: [65, 66],
    temperature: 1.5,
    topP: 0.9,
    topK: 0,
    minP: 0.1,
    seed: -7,
    repetitionPenalty: 1.1,
    frequencyPenalty: -1,
    presencePenalty: 1,
    logitBias: [[65, 5]],
    stopTokens: [3],
    logprobs: null,
  });
});

test('an adapter that does not exist is a 404, never an answer of the base model', async (t) => {
  const { post, engine } = await testApp(t);
  for (const [body, param] of [
    [{ adapter_id: 'x@1' }, 'adapter_id'],
    [{ adapters: [{ id: 'x', scale: 1 }] }, 'adapters[0].id'],
  ] as const) {
    const answer = await post(url, { prompt: 'x', ...body });
    assert.equal(answer.statusCode, 404);
    assert.deepEqual([answer.json().error.code, answer.json().error.param], ['adapter_not_found', param]);
  }
  assert.equal((await post(url, { prompt: 'x', adapter_scale: 1 })).json().error.param, 'adapter_scale');
  assert.equal((await post(url, { prompt: 'x', adapters: [] })).statusCode, 200);
  assert.equal(engine.submitted.length, 1);
});

test('unknown fields are refused, with the name that was meant', async (t) => {
  const { post } = await testApp(t);
  const messageOf = async (body: object) => (await post(url, { prompt: 'x', ...body })).json().error.message;
  assert.equal(await messageOf({ max_token: 3 }), 'max_token is not a known parameter. Did you mean max_tokens?');
  assert.equal(
    await messageOf({ max_new_tokens: 3 }),
    'max_new_tokens is not a known parameter. Did you mean max_tokens?',
  );
  assert.equal(await messageOf({ frobnicate: 3 }), 'frobnicate is not a known parameter.');
});

test("curl's default content type is read as JSON, but not from a web page", async (t) => {
  const { app } = await testApp(t);
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const request = { method: 'POST', url, payload: '{"prompt":"x"}' } as const;
  assert.equal((await app.inject({ ...request, headers: form })).statusCode, 200);
  const fromPage = await app.inject({ ...request, headers: { ...form, origin: 'https://example.com' } });
  assert.equal(fromPage.json().error.code, 'origin_not_allowed');
});
