// Tools in chats over HTTP, by OpenAI's own client, whose helpers run functions and join streams.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import OpenAI from 'openai';
import { listen, type TestAppOptions, testApp } from '../../helpers/app.ts';

const model = 'tiny';
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'What is 1 + 2?' }];
const parameters = {
  type: 'object',
  properties: { a: { type: 'integer' }, b: { type: 'integer' } },
  required: ['a', 'b'],
  additionalProperties: false,
};
const add: OpenAI.ChatCompletionTool = { type: 'function', function: { name: 'add', parameters } };
const look: OpenAI.ChatCompletionTool = { type: 'function', function: { name: 'look_up', description: 'Looks.' } };
const written = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>';

async function client(t: TestContext, options: TestAppOptions = {}) {
  const testing = await testApp(t, { maxContext: 4096, ...options });
  const { key } = await testing.keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const baseURL = `http://127.0.0.1:${await listen(testing.app)}/v1`;
  return { ...testing, openai: new OpenAI({ apiKey: key, baseURL, maxRetries: 0 }) };
}

const promptOf = (tokens: readonly number[]) => Buffer.from(tokens.filter((token) => token < 256)).toString();

test("the client's helper runs a function and sends its result back", async (t) => {
  const says = [`I add.${written}`, 'It is 3.'];
  let turns = 0;
  const { openai, engine } = await client(t, { script: () => Buffer.from(says[turns++]!) });
  const seen: unknown[] = [];
  const runner = openai.chat.completions.runTools({
    ...{ model, messages },
    tools: [
      {
        type: 'function',
        function: {
          ...{ name: 'add', description: 'Adds.', parameters, parse: JSON.parse },
          function: (args: { a: number; b: number }) => {
            seen.push(args);
            return String(args.a + args.b);
          },
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), 'It is 3.');
  assert.deepEqual(seen, [{ a: 1, b: 2 }]);
  const [first, second] = engine.submitted.map(({ promptTokens }) => promptOf(promptTokens));
  assert.match(first!, /<tools>\n\{"type":"function","function":\{"name":"add"/);
  assert.match(second!, /I add\.\n<tool_call>\n\{"name":"add","arguments":\{"a":1,"b":2\}\}\n<\/tool_call>/);
  assert.match(second!, /user\n<tool_response>\n3\n<\/tool_response>/);
});

test('whole: what is said and what is called', async (t) => {
  const { openai } = await client(t, { says: `I add.${written}` });
  const { choices } = await openai.chat.completions.create({ model, messages, tools: [add, look], logprobs: true });
  const [{ message, finish_reason, logprobs }] = choices as [OpenAI.ChatCompletion.Choice];
  assert.equal(finish_reason, 'tool_calls');
  assert.equal(message.content, 'I add.');
  assert.deepEqual(
    message.tool_calls?.map((call) => call.type === 'function' && call.function),
    [{ name: 'add', arguments: '{"a": 1, "b": 2}' }],
  );
  assert.equal(logprobs?.content?.length, Buffer.byteLength(`I add.${written}`));
});

test('streamed: the name first, then the arguments in parts', async (t) => {
  const { openai } = await client(t, { says: `${written}\n${written}` });
  const stream = openai.chat.completions.stream({ model, messages, tools: [add], n: 2 });
  const parts: string[] = [];
  stream.on('chunk', ({ choices }) => {
    const part = choices[0]?.index === 0 ? choices[0].delta.tool_calls?.[0]?.function?.arguments : undefined;
    if (part) parts.push(part);
  });
  const { choices } = await stream.finalChatCompletion();
  for (const { message, finish_reason } of choices) {
    assert.equal(finish_reason, 'tool_calls');
    assert.ok(!message.content);
    const calls = message.tool_calls!.map((call) => call.type === 'function' && call.function.arguments);
    assert.deepEqual(calls, ['{"a": 1, "b": 2}', '{"a": 1, "b": 2}']);
    assert.equal(new Set(message.tool_calls!.map(({ id }) => id)).size, 2);
  }
  assert.ok(parts.length > 10, 'arguments came at once');
});

test('required and named calls have a grammar; auto and none have none', async (t) => {
  const { openai, engine } = await client(t, { says: written });
  const ask = async (tool_choice: OpenAI.ChatCompletionToolChoiceOption) => {
    const { choices } = await openai.chat.completions.create({ model, messages, tools: [look, add], tool_choice });
    return { choice: choices[0]!, grammar: engine.submitted.at(-1)!.grammar ?? null };
  };
  const auto = await ask('auto');
  assert.deepEqual([auto.grammar, auto.choice.finish_reason], [null, 'tool_calls']);
  const none = await ask('none');
  assert.deepEqual([none.grammar, none.choice.message.content], [null, written]);
  assert.doesNotMatch(promptOf(engine.submitted.at(-1)!.promptTokens), /<tools>/);
  const required = await ask('required');
  assert.match(required.grammar!.text, /look_up[\s\S]*add/);
  assert.equal(required.choice.finish_reason, 'tool_calls');
  const named = await ask({ type: 'function', function: { name: 'add' } });
  assert.doesNotMatch(named.grammar!.text, /look_up/);
  assert.equal(named.choice.finish_reason, 'stop');
  assert.equal(named.choice.message.tool_calls?.length, 1);
});

test('with tools and a form of the answer, the output is either', async (t) => {
  const { openai, engine } = await client(t, { says: '{"sum":3}' });
  const { choices } = await openai.chat.completions.create({
    ...{ model, messages, tools: [add] },
    response_format: { type: 'json_schema', json_schema: { name: 'sum', strict: true, schema: parameters } },
  });
  assert.equal(choices[0]?.message.content, '{"sum":3}');
  assert.match(engine.submitted.at(-1)!.grammar!.text, /^start: calls \| answer\n/);
});

const refusals: readonly (readonly [object, string, string])[] = [
  [{ tool_choice: 'required' }, 'invalid_parameter', 'tool_choice'],
  [{ tools: [add], tool_choice: { type: 'function', function: { name: 'sub' } } }, 'invalid_parameter', 'tool_choice'],
  [{ tools: [add, add] }, 'invalid_parameter', 'tools[1].function.name'],
  [
    { tools: [add], tool_choice: 'required', response_format: { type: 'json_object' } },
    'invalid_parameter',
    'response_format',
  ],
  [{ tools: [add], guided_regex: 'a' }, 'invalid_parameter', 'guided_regex'],
  [
    { tools: [{ type: 'function', function: { name: 'f', parameters: { not: {} } } }], tool_choice: 'required' },
    'grammar_invalid',
    'tools',
  ],
  [{ chat_template_kwargs: { documents: ['d'] } }, 'unsupported_parameter', 'chat_template_kwargs.documents'],
  [{ chat_template_kwargs: { messages: [] } }, 'unsupported_parameter', 'chat_template_kwargs.messages'],
  [{ reasoning_effort: 'high' }, 'unsupported_parameter', 'reasoning_effort'],
  [{ guided_regex: 'a', guided_json: {} }, 'invalid_parameter', 'guided_regex'],
  [{ guided_regex: '(?=a)' }, 'grammar_invalid', 'guided_regex'],
  [{ response_format: { type: 'json_schema' } }, 'missing_parameter', 'response_format.json_schema.schema'],
  [{ response_format: { type: 'json_object' }, ignore_eos: true }, 'invalid_parameter', 'ignore_eos'],
];

for (const [fields, code, param] of refusals) {
  test(`refused: ${JSON.stringify(fields).slice(0, 90)}`, async (t) => {
    const { post } = await testApp(t, { says: 'x' });
    const response = await post('/v1/chat/completions', { model, messages, ...fields });
    const { error } = response.json();
    assert.deepEqual([response.statusCode, error.code, error.param], [400, code, param], error.message);
  });
}

test('what asks for nothing passes', async (t) => {
  const { post } = await testApp(t, { says: 'x' });
  const off = {
    tools: [],
    tool_choice: 'auto',
    reasoning_effort: 'none',
    chat_template_kwargs: { enable_thinking: false },
  };
  const response = await post('/v1/chat/completions', { model, messages, ...off, response_format: { type: 'text' } });
  assert.equal(response.statusCode, 200);
});
