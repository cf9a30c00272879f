// Interfaces beside chat and completions: responses, Anthropic, text-generation-inference, Ollama, tokens, CORS.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withEscapedNames } from '../../src/server/http/plain-names.ts';
import { testApp } from '../helpers/app.ts';

/** Events with names, as `[name, data]`. */
const namedEvents = (body: string) =>
  body
    .split('\n\n')
    .filter((frame) => frame.startsWith('event: '))
    .map((frame) => {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(frame)!;
      return [name, JSON.parse(data!)] as const;
    });
const messages = [{ role: 'user', content: 'Hi' }];

test('responses: the object and its events say the same', async (t) => {
  const { post, engine } = await testApp(t, { says: 'hello' });
  const body = { model: 'tiny', input: [{ role: 'user', content: [{ type: 'input_text', text: 'Hi' }] }] };
  const whole = (await post('/v1/responses', { ...body, instructions: 'Be kind.' })).json();
  assert.deepEqual([whole.object, whole.status, whole.output[0].content[0].text], ['response', 'completed', 'hello']);
  assert.equal(whole.usage.total_tokens, whole.usage.input_tokens + 5);
  assert.match(Buffer.from(engine.submitted[0]!.promptTokens.filter((token) => token < 256)).toString(), /Be kind/);
  const events = namedEvents((await post('/v1/responses', { ...body, stream: true })).body);
  assert.ok(events.every(([name, data], i) => data.type === name && data.sequence_number === i));
  const deltas = events.filter(([name]) => name === 'response.output_text.delta').map(([, { delta }]) => delta);
  assert.equal(deltas.join(''), 'hello');
  assert.equal(events.at(-1)![1].response.output[0].content[0].text, 'hello');
  const cut = (await post('/v1/responses', { ...body, max_output_tokens: 2 })).json();
  assert.deepEqual([cut.status, cut.incomplete_details.reason], ['incomplete', 'max_output_tokens']);
  const { error } = (await post('/v1/responses', { ...body, previous_response_id: 'x' })).json();
  assert.deepEqual([error.code, error.param], ['unsupported_parameter', 'previous_response_id']);
});

const parameters = { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] };
const call = '<tool_call>\n{"name": "weather", "arguments": {"place": "Graz"}}\n</tool_call>';
const args = '{"place": "Graz"}';

test('responses: tools, calls and their results, JSON, log-probabilities', async (t) => {
  const { post, engine } = await testApp(t, { says: call, maxContext: 4096 });
  const tools = [{ type: 'function', name: 'weather', parameters }];
  const body = { model: 'tiny', input: 'Graz?', tools };
  const [item] = (await post('/v1/responses', body)).json().output;
  assert.deepEqual([item.type, item.name, item.arguments], ['function_call', 'weather', args]);
  const events = namedEvents((await post('/v1/responses', { ...body, stream: true })).body);
  const deltas = events.filter(([name]) => name === 'response.function_call_arguments.delta');
  assert.equal(deltas.map(([, { delta }]) => delta).join(''), args);
  const [streamed] = events.at(-1)![1].response.output;
  assert.deepEqual([streamed.name, streamed.arguments], ['weather', args]);
  const result = { type: 'function_call_output', call_id: item.call_id, output: 'Sunny.' };
  const turns = [{ role: 'user', content: 'Graz?' }, item, result];
  assert.equal((await post('/v1/responses', { ...body, input: turns })).statusCode, 200);
  assert.match(Buffer.from(engine.submitted.at(-1)!.promptTokens.filter((id) => id < 256)).toString(), /Sunny\./);
  assert.equal((await post('/v1/responses', { ...body, tool_choice: 'required' })).statusCode, 200);
  assert.equal(engine.submitted.at(-1)!.grammar?.kind, 'lark');
  const format = { type: 'json_schema', name: 'place', schema: parameters };
  await post('/v1/responses', { model: 'tiny', input: 'x', text: { format } });
  assert.equal(engine.submitted.at(-1)!.grammar?.kind, 'json_schema');
  const wrong = { type: 'json_schema', name: 'x', schema: { not: {} } };
  const { error } = (await post('/v1/responses', { model: 'tiny', input: 'x', text: { format: wrong } })).json();
  assert.deepEqual([error.code, error.param], ['grammar_invalid', 'text.format.schema']);
  const include = ['message.output_text.logprobs'];
  await post('/v1/responses', { model: 'tiny', input: 'x', include, top_logprobs: 2 });
  assert.equal(engine.submitted.at(-1)!.params.logprobs, 2);
  const counted = (await post('/v1/responses/input_tokens', body)).json();
  assert.equal(counted.input_tokens, engine.submitted[0]!.promptTokens.length);
});

test('messages of Anthropic: tools and their results, JSON', async (t) => {
  const { post, engine } = await testApp(t, { says: call, maxContext: 4096 });
  const tools = [{ name: 'weather', input_schema: parameters }];
  const body = { model: 'tiny', max_tokens: 99, messages, tools };
  const { content, stop_reason } = (await post('/v1/messages', body)).json();
  const [{ id, ...use }] = content;
  assert.deepEqual([use, stop_reason], [{ type: 'tool_use', name: 'weather', input: { place: 'Graz' } }, 'tool_use']);
  const events = namedEvents((await post('/v1/messages', { ...body, stream: true })).body);
  const parts = events.filter(([name]) => name === 'content_block_delta').map(([, { delta }]) => delta.partial_json);
  assert.equal(parts.join(''), args);
  const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'Sunny.' }] };
  const turns = [...messages, { role: 'assistant', content }, result];
  assert.equal((await post('/v1/messages', { ...body, messages: turns })).statusCode, 200);
  assert.match(Buffer.from(engine.submitted.at(-1)!.promptTokens.filter((id) => id < 256)).toString(), /Sunny\./);
  await post('/v1/messages', { ...body, tool_choice: { type: 'tool', name: 'weather' } });
  assert.equal(engine.submitted.at(-1)!.grammar?.kind, 'lark');
  const output_config = { format: { type: 'json_schema', schema: parameters } };
  await post('/v1/messages', { model: 'tiny', max_tokens: 99, messages, output_config });
  assert.equal(engine.submitted.at(-1)!.grammar?.kind, 'json_schema');
});

test('Ollama: a format, tools and their calls; text-generation-inference: a grammar', async (t) => {
  const { post, engine } = await testApp(t, { says: call, maxContext: 4096 });
  const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
  const body = { model: 'tiny', messages, tools, stream: false };
  const { message } = (await post('/api/chat', body)).json();
  assert.deepEqual(message.tool_calls, [{ function: { name: 'weather', arguments: { place: 'Graz' } } }]);
  const lines = (await post('/api/chat', { ...body, stream: true })).body.trim().split('\n');
  assert.deepEqual(JSON.parse(lines.at(-1)!).message.tool_calls, message.tool_calls);
  const turns = [
    ...messages,
    { role: 'assistant', ...message },
    { role: 'tool', tool_name: 'weather', content: 'Sun' },
  ];
  assert.equal((await post('/api/chat', { ...body, messages: turns })).statusCode, 200);
  const grammarOf = async (url: string, asked: object) => {
    const answer = await post(url, asked);
    assert.equal(answer.statusCode, 200, answer.body);
    return engine.submitted.at(-1)!.grammar?.kind;
  };
  assert.equal(await grammarOf('/api/generate', { model: 'tiny', prompt: 'x', format: 'json' }), 'json_schema');
  assert.equal(await grammarOf('/api/chat', { model: 'tiny', messages, format: parameters }), 'json_schema');
  const tgi = (grammar: object) => ({ inputs: 'x', parameters: { grammar, watermark: null } });
  assert.equal(await grammarOf('/generate', tgi({ type: 'json', value: parameters })), 'json_schema');
  assert.equal(await grammarOf('/generate', tgi({ type: 'regex', value: 'a+' })), 'regex');
  const response_format = { type: 'json_object', schema: parameters };
  assert.equal(await grammarOf('/generate', { inputs: 'x', parameters: { response_format } }), 'json_schema');
  const wrong = await post('/generate', tgi({ type: 'regex', value: '(?=a)' }));
  assert.match(wrong.json().error, /parameters\.grammar\.value/);
});

test('no end before min_tokens; only allowed tokens; a stop string that is kept', async (t) => {
  const { post, engine } = await testApp(t, { says: 'one two three' });
  const body = { prompt: 'x', max_tokens: 50 };
  const answer = (await post('/v1/completions', { ...body, min_tokens: 6, stop: ['o'] })).json();
  // The first and the second `o` come before the sixth token, so they do not stop the text.
  assert.deepEqual([answer.choices[0].text, engine.submitted.at(-1)!.params.minTokens], ['one tw', 6]);
  const kept = (await post('/v1/completions', { ...body, stop: [' t'], include_stop_str_in_output: true })).json();
  assert.equal(kept.choices[0].text, 'one t');
  await post('/v1/generate', { ...body, allowed_token_ids: [97, 98] });
  assert.deepEqual(engine.submitted.at(-1)!.params.allowedTokens, [97, 98]);
  for (const [wrong, param] of [
    [{ min_tokens: 51 }, 'min_tokens'],
    [{ min_tokens: 2, guided_regex: 'a+' }, 'min_tokens'],
    [{ allowed_token_ids: [100_000] }, 'allowed_token_ids'],
  ] as const) {
    assert.equal((await post('/v1/completions', { ...body, ...wrong })).json().error.param, param);
  }
});

test('messages of Anthropic: whole, streamed, counted, refused', async (t) => {
  const { post } = await testApp(t, { says: 'one two' });
  const body = { model: 'tiny', max_tokens: 16, system: [{ type: 'text', text: 'Be kind.' }], messages };
  const whole = (await post('/v1/messages', body)).json();
  assert.deepEqual([whole.content, whole.stop_reason], [[{ type: 'text', text: 'one two' }], 'end_turn']);
  const events = namedEvents((await post('/v1/messages', { ...body, stream: true })).body);
  assert.deepEqual([events[0]![0], events.at(-1)![0]], ['message_start', 'message_stop']);
  const texts = events.filter(([name]) => name === 'content_block_delta').map(([, { delta }]) => delta.text);
  assert.equal(texts.join(''), 'one two');
  const stopped = (await post('/v1/messages', { ...body, stop_sequences: [' two'] })).json();
  assert.deepEqual(
    [stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text],
    ['stop_sequence', ' two', 'one'],
  );
  const counted = (await post('/v1/messages/count_tokens', { model: 'tiny', messages, system: 'Be kind.' })).json();
  assert.equal(counted.input_tokens, whole.usage.input_tokens);
  const refused = await post('/v1/messages', { ...body, tools: [{ type: 'web_search_20250305', name: 'web_search' }] });
  assert.deepEqual([refused.statusCode, refused.json().error.type], [400, 'invalid_request_error']);
  assert.equal((await post('/v1/messages', { ...body, model: 'nobody' })).json().error.type, 'not_found_error');
});

test('text-generation-inference: details, events, the root, errors', async (t) => {
  const { post, app, engine } = await testApp(t, { says: 'abc' });
  const whole = (await post('/generate', { inputs: 'x', parameters: { details: true } })).json();
  assert.deepEqual([whole.generated_text, whole.details.finish_reason], ['abc', 'eos_token']);
  assert.deepEqual([whole.details.prompt_tokens, whole.details.generated_tokens], [1, 3]);
  assert.equal(engine.submitted[0]!.params.temperature, 0);
  const events = (await post('/generate_stream', { inputs: 'x' })).body.split('\n\n').filter(Boolean);
  const parsed = events.map((event) => JSON.parse(event.slice('data: '.length)));
  assert.deepEqual(
    parsed.map(({ token }) => token.text),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(
    parsed.map(({ generated_text }) => generated_text),
    [null, null, 'abc'],
  );
  assert.deepEqual((await post('/', { inputs: 'x' })).json(), [{ generated_text: 'abc' }]);
  const wrong = await post('/generate', { inputs: 'x', parameters: { temprature: 1 } });
  assert.deepEqual([wrong.statusCode, wrong.json().error_type], [422, 'validation']);
  assert.match(wrong.json().error, /parameters\.temprature .*Did you mean parameters\.temperature/);
  const missing = await post('/generate', { inputs: 'x', parameters: { adapter_id: 'nobody' } });
  assert.equal(missing.statusCode, 404);
  assert.equal((await app.inject('/info')).json().model_id, 'tiny');
});

test('Ollama: lines of JSON, or one object', async (t) => {
  const { post, app } = await testApp(t, { says: 'abc' });
  const streamed = (await post('/api/chat', { model: 'tiny:latest', messages })).body.trim().split('\n');
  const lines = streamed.map((line) => JSON.parse(line));
  assert.equal(lines.map(({ message }) => message.content).join(''), 'abc');
  assert.deepEqual([lines.at(-1).done, lines.at(-1).done_reason, lines.at(-1).eval_count], [true, 'stop', 3]);
  const whole = (await post('/api/generate', { model: 'tiny', prompt: 'x', stream: false })).json();
  assert.deepEqual([whole.response, whole.done], ['abc', true]);
  const wrong = await post('/api/chat', { model: 'nobody', messages });
  assert.deepEqual([wrong.statusCode, typeof wrong.json().error], [404, 'string']);
  assert.equal((await app.inject('/api/tags')).json().models[0].name, 'tiny');
});

test('tokens of a text and of messages, and back', async (t) => {
  const { post, app } = await testApp(t);
  const { tokens, count } = (await post('/tokenize', { prompt: 'ab', return_token_strs: true })).json();
  assert.deepEqual([tokens, count], [[97, 98], 2]);
  assert.equal((await post('/detokenize', { tokens })).json().prompt, 'ab');
  assert.ok((await post('/tokenize', { messages })).json().count > 2);
  assert.equal((await post('/tokenize', {})).json().error.param, 'prompt');
  const info = (await app.inject('/tokenizer_info')).json();
  assert.deepEqual([typeof info.eos_token, info.vocab_size > 256], ['string', true]);
  assert.match((await app.inject('/version')).json().version, /^\d+\.\d+/);
  assert.equal((await app.inject({ method: 'POST', url: '/ping' })).statusCode, 200);
});

test('echo has the prompt and its tokens; the best of several are the most likely', async (t) => {
  const { post, engine } = await testApp(t, { says: 'ok' });
  const echoed = (await post('/v1/completions', { prompt: 'ab', echo: true, max_tokens: 0 })).json();
  assert.deepEqual([echoed.choices[0].text, echoed.choices[0].finish_reason], ['ab', 'length']);
  const { prompt_tokens, completion_tokens, total_tokens } = echoed.usage;
  assert.deepEqual([prompt_tokens, completion_tokens, total_tokens], [2, 0, 2]);
  await post('/v1/completions', { prompt: 'ab', echo: true, logprobs: 2 });
  assert.equal(engine.submitted.at(-1)!.promptLogprobs, 2);
  const best = (await post('/v1/completions', { prompt: 'ab', best_of: 3, n: 2 })).json();
  assert.equal(best.choices.length, 2);
  for (const wrong of [
    { best_of: 1, n: 2 },
    { best_of: 2, stream: true },
    { echo: true, stream: true },
    { max_tokens: 0 },
  ]) {
    assert.equal((await post('/v1/completions', { prompt: 'ab', ...wrong })).statusCode, 400);
  }
});

test('/v1/models has aliases and versions; a near name is suggested', async (t) => {
  const { app, registry, post } = await testApp(t);
  await registry.add('org/pirate');
  await registry.add('org/pirate', { content: 'newer' });
  await registry.setAlias('default', {
    name: 'org/pirate',
    alias: 'prod',
    targets: [{ version: 1, weight: 1 }],
    expected: null,
  });
  const { data } = (await app.inject('/v1/models')).json();
  assert.deepEqual(
    data.map(({ id }: { id: string }) => id),
    ['tiny', 'org/pirate', 'org/pirate:prod'],
  );
  assert.deepEqual(data[1].versions, ['org/pirate@2', 'org/pirate@1']);
  assert.equal((await app.inject('/v1/models/org/pirate')).json().id, 'org/pirate');
  assert.equal((await app.inject('/v1/adapters/org/pirate/versions')).json().data.length, 2);
  const { error } = (await post('/v1/completions', { model: 'org/pirat', prompt: 'x' })).json();
  assert.equal(error.message, "The model 'org/pirat' does not exist. Did you mean 'org/pirate'?");
});

test('names in addresses', () => {
  const cases = {
    '/v1/models/a/b': '/v1/models/a%2Fb',
    '/v1/models/a%2Fb': '/v1/models/a%2Fb',
    '/v1/models?after=a/b': '/v1/models?after=a/b',
    '/v1/adapters/a/b/versions/2/content?x=1': '/v1/adapters/a%2Fb/versions/2/content?x=1',
    '/v1/adapters/a/versions': '/v1/adapters/a/versions',
    '/v1/adapters/uploads/sha256:00': '/v1/adapters/uploads/sha256:00',
    '/v1/adapters/a/b/aliases/prod': '/v1/adapters/a%2Fb/aliases/prod',
    '/v1/admin/adapters/a/b@2/merge': '/v1/admin/adapters/a%2Fb@2/merge',
  };
  for (const [plain, escaped] of Object.entries(cases)) assert.equal(withEscapedNames(plain), escaped);
});

test('pages of other origins read answers only where a setting allows them', async (t) => {
  const headers = { origin: 'https://page.example', 'access-control-request-method': 'POST' };
  const ask = { method: 'OPTIONS', url: '/v1/chat/completions', headers } as const;
  const closed = await testApp(t);
  assert.equal((await closed.app.inject(ask)).headers['access-control-allow-origin'], undefined);
  const { app } = await testApp(t, { deps: { corsOrigins: ['https://page.example'], adminKey: 'secret' } });
  const preflight = await app.inject(ask);
  assert.deepEqual(
    [preflight.statusCode, preflight.headers['access-control-allow-origin']],
    [204, 'https://page.example'],
  );
  const refused = await app.inject({ url: '/v1/models', headers: { origin: 'https://page.example' } });
  assert.deepEqual([refused.statusCode, refused.headers['access-control-allow-origin']], [401, 'https://page.example']);
  const stranger = await app.inject({ url: '/livez', headers: { origin: 'https://other.example' } });
  assert.equal(stranger.headers['access-control-allow-origin'], undefined);
});
