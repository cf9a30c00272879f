// Chat templates of adapters: kept at the upload, and applied to conversations with that version.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { systemTimers } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import { uploadCheck } from '../../src/main/templates.ts';
import { boundMemory } from '../../src/runtime/bound-memory.ts';
import { startTemplates } from '../../src/templates/start.ts';
import { type TestApp, testApp } from '../helpers/app.ts';
import { byteTokenizer } from '../helpers/byte-tokenizer.ts';
import { until } from '../helpers/waits.ts';
import { formOf } from './form.ts';

const own =
  '{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}{% if add_generation_prompt %}>>{% endif %}';
const messages = [{ role: 'user', content: 'hi' }];

async function appWithTemplates(t: TestContext): Promise<TestApp> {
  const process = startTemplates({ timers: systemTimers, boundMemory, limits });
  t.after(() => process.close());
  const tokenizer = byteTokenizer();
  const templates = { base: tokenizer.chatTemplate, check: uploadCheck(tokenizer, process) };
  return await testApp(t, { deps: { templates: process }, registry: { templates } });
}

type Files = Readonly<Record<string, string>>;

const uploadTo = ({ app }: TestApp, name: string, files: Files = {}, weights = 'w') => {
  const parts = Object.entries(files).map(([filename, content]) => ({ name: filename, filename, content }));
  const { payload, headers } = formOf(
    { name: 'name', content: name },
    { name: 'adapter_config.json', filename: 'adapter_config.json', content: '{"r":8,"target_modules":["q_proj"]}' },
    ...parts,
    { name: 'adapter_model.safetensors', filename: 'adapter_model.safetensors', content: weights },
  );
  return app.inject({ method: 'POST', url: '/v1/adapters', payload, headers });
};

const promptOf = ({ engine }: TestApp, index = -1): string =>
  byteTokenizer().decode(engine.submitted.at(index)!.promptTokens, { skipSpecial: false });

const baseText = '<|start|>user\nhi<|end|><|start|>assistant\n';

test('a template beside an adapter renders its conversations, on every route that has messages', async (t) => {
  const testing = await appWithTemplates(t);
  const made = await uploadTo(testing, 'a', { 'chat_template.jinja': own });
  assert.equal(made.statusCode, 201, made.body);
  assert.match(made.json().chat_template, /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(made.json().warnings, []);
  const asked: [string, object][] = [
    ['/v1/chat/completions', { model: 'a', messages }],
    ['/v1/chat/completions', { model: 'a@1', messages, stream: true }],
    ['/v1/messages', { model: 'a', messages, max_tokens: 4 }],
    ['/v1/responses', { model: 'a', input: 'hi' }],
    ['/v1/generate', { adapter_id: 'a', messages }],
    ['/api/chat', { model: 'a', messages }],
    ['/api/generate', { model: 'a', prompt: 'hi' }],
    ['/generate', { inputs: 'hi', parameters: { adapter_id: 'a', apply_chat_template: true } }],
  ];
  for (const [url, body] of asked) {
    const answer = await testing.post(url, body);
    assert.equal(answer.statusCode, 200, `${url}: ${answer.body}`);
    assert.equal(promptOf(testing), '[user: hi]>>', url);
  }
  const counts: [string, object, string][] = [
    ['/v1/messages/count_tokens', { model: 'a', messages }, 'input_tokens'],
    ['/v1/responses/input_tokens', { model: 'a', input: 'hi' }, 'input_tokens'],
    ['/tokenize', { model: 'a', messages }, 'count'],
  ];
  for (const [url, body, field] of counts) {
    assert.equal((await testing.post(url, body)).json()[field], '[user: hi]>>'.length, url);
  }
  await testing.post('/v1/chat/completions', { messages });
  assert.equal(promptOf(testing), baseText);
  await until(() => testing.registry.held === 0);
});

test('it is found where transformers looks for it, in that order; one like the base model’s is none', async (t) => {
  const testing = await appWithTemplates(t);
  const config = (template: unknown) => JSON.stringify({ chat_template: template, bos_token: '<s>' });
  const cases: [Files, string][] = [
    [{ 'tokenizer_config.json': config('config{{ x }}') }, 'config'],
    [
      {
        'tokenizer_config.json': config([
          { name: 'rag', template: 'rag' },
          { name: 'default', template: 'plain' },
        ]),
      },
      'plain',
    ],
    [{ 'tokenizer_config.json': config('config'), 'chat_template.json': config('json') }, 'json'],
    [{ 'tokenizer_config.json': config('config'), 'chat_template.jinja': 'jinja' }, 'jinja'],
    [{ 'tokenizer_config.json': config('bytes\n') }, baseText],
    [{ 'tokenizer_config.json': '{"bos_token":"<s>"}' }, baseText],
    [{ 'chat_template.jinja': ' \n' }, baseText],
    [{ 'tokenizer_config.json': 'not json' }, baseText],
  ];
  for (const [i, [files, text]] of cases.entries()) {
    const made = await uploadTo(testing, `n${i}`, files, `w${i}`);
    assert.equal(made.statusCode, 201, made.body);
    assert.equal(made.json().chat_template === null, text === baseText);
    await testing.post('/v1/chat/completions', { model: `n${i}`, messages });
    assert.equal(promptOf(testing), text);
  }
});

test('the same weights with another template are another version; an alias that moves takes it along', async (t) => {
  const testing = await appWithTemplates(t);
  const first = await uploadTo(testing, 'a');
  const second = await uploadTo(testing, 'a', { 'chat_template.jinja': own });
  const again = await uploadTo(testing, 'a', { 'chat_template.jinja': own });
  assert.deepEqual(
    [first, second, again].map((answer) => [answer.statusCode, answer.json().version]),
    [
      [201, 1],
      [201, 2],
      [200, 2],
    ],
  );
  assert.equal(first.json().digest, second.json().digest);
  const move = (version: number) =>
    testing.app.inject({ method: 'PUT', url: '/v1/adapters/a/aliases/prod', payload: { version } });
  for (const [version, text] of [
    [1, baseText],
    [2, '[user: hi]>>'],
    [1, baseText],
  ] as const) {
    assert.ok((await move(version)).statusCode < 300);
    await testing.post('/v1/chat/completions', { model: 'a:prod', messages });
    assert.equal(promptOf(testing), text);
  }
});

test('of several adapters it counts where they all brought the same', async (t) => {
  const testing = await appWithTemplates(t);
  await uploadTo(testing, 'a', { 'chat_template.jinja': own }, '1');
  await uploadTo(testing, 'b', { 'chat_template.jinja': own }, '2');
  await uploadTo(testing, 'c', {}, '3');
  await uploadTo(testing, 'd', { 'chat_template.jinja': 'another' }, '4');
  const ask = async (...ids: string[]) => {
    await testing.post('/v1/generate', { messages, adapters: ids.map((id) => ({ id })) });
    return promptOf(testing);
  };
  assert.equal(await ask('a', 'b'), '[user: hi]>>');
  for (const other of ['c', 'd']) assert.equal(await ask('a', other), baseText);
});

test('a template that knows tools is given them; to one that does not they are described', async (t) => {
  const testing = await appWithTemplates(t);
  const knowing = `{% if tools %}{{ tools[0].function.name }}|{% endif %}${own}`;
  await uploadTo(testing, 'knows', { 'chat_template.jinja': knowing }, '1');
  await uploadTo(testing, 'not', { 'chat_template.jinja': own }, '2');
  const tools = [{ type: 'function', function: { name: 'order', parameters: { type: 'object' } } }];
  await testing.post('/v1/chat/completions', { model: 'knows', messages, tools });
  assert.equal(promptOf(testing), 'order|[user: hi]>>');
  await testing.post('/v1/chat/completions', { model: 'not', messages, tools });
  assert.match(promptOf(testing), /^\[system: You may call functions[\s\S]*order/);
  const thinking = await testing.post('/v1/chat/completions', {
    ...{ model: 'not', messages, chat_template_kwargs: { enable_thinking: true } },
  });
  assert.deepEqual([thinking.statusCode, thinking.json().error.code], [400, 'unsupported_parameter']);
});

test('an answer ends where the template ends a turn', async (t) => {
  const testing = await appWithTemplates(t);
  const marked = '{% for m in messages %}{{ m.content }}<|start|>{% endfor %}';
  await uploadTo(testing, 'a', { 'chat_template.jinja': marked });
  await testing.post('/v1/chat/completions', { model: 'a', messages });
  assert.deepEqual(testing.engine.submitted.at(-1)!.params.stopTokens, [256, 257]);
  await testing.post('/v1/chat/completions', { messages });
  assert.deepEqual(testing.engine.submitted.at(-1)!.params.stopTokens, [256]);
});

test('a template that cannot be used is refused at the upload, by the file’s name', async (t) => {
  const testing = await appWithTemplates(t);
  const refused: [Files, number, string, string][] = [
    [{ 'chat_template.jinja': '{% if x %}' }, 400, 'adapter_invalid', 'chat_template'],
    [{ 'chat_template.jinja': 'x'.repeat(70_000) }, 413, 'body_too_large', 'chat_template.jinja'],
    [
      { 'tokenizer_config.json': JSON.stringify({ chat_template: 'x'.repeat(70_000) }) },
      ...([413, 'body_too_large', 'chat_template'] as const),
    ],
    [
      { 'chat_template.jinja': '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}' },
      ...([400, 'chat_template_too_slow', 'messages'] as const),
    ],
  ];
  for (const [files, status, code, param] of refused) {
    const answer = await uploadTo(testing, 'a', files);
    const { error } = answer.json();
    assert.deepEqual([answer.statusCode, error.code, error.param], [status, code, param], answer.body);
  }
  assert.equal((await testing.app.inject('/v1/adapters/a')).statusCode, 404);
  assert.equal(testing.registry.staged, 0);
});

test('a template that fails with a conversation is that request’s error, and everything is let go', async (t) => {
  const testing = await appWithTemplates(t);
  const bad =
    "{% if messages[0].content == 'loop' %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}" +
    "{% endfor %}{% elif messages[0].content == 'raise' %}{{ raise_exception('No!') }}{% endif %}fine";
  await uploadTo(testing, 'a', { 'chat_template.jinja': bad });
  for (const [content, code] of [
    ['raise', 'chat_template_failed'],
    ['loop', 'chat_template_too_slow'],
    ['hi', 'chat_template_too_slow'],
  ]) {
    const answer = await testing.post('/v1/chat/completions', { model: 'a', messages: [{ role: 'user', content }] });
    assert.deepEqual([answer.statusCode, answer.json().error.code], [400, code], answer.body);
  }
  assert.equal((await testing.post('/v1/chat/completions', { messages })).statusCode, 200);
  await until(() => testing.registry.held === 0);
});

test('without the setting nothing is kept, and it is said', async (t) => {
  const testing = await testApp(t);
  const made = await uploadTo(testing, 'a', { 'chat_template.jinja': own });
  assert.equal(made.json().chat_template, null);
  assert.match(made.json().warnings[0], /^Not applied: chat_template\.jinja\..*LORIKEET_ADAPTER_TEMPLATES/);
  await testing.post('/v1/chat/completions', { model: 'a', messages });
  assert.equal(promptOf(testing), baseText);
});

test('a version’s download has its template, and a name is gone with it', async (t) => {
  const testing = await appWithTemplates(t);
  await uploadTo(testing, 'a', { 'chat_template.jinja': own });
  const { body } = await testing.app.inject('/v1/adapters/a/versions/1/content');
  assert.ok(body.includes('chat_template.jinja') && body.includes(own));
  const rows = () => testing.registry.database.selectFrom('adapter_templates').selectAll().execute();
  assert.equal((await rows()).length, 1);
  await testing.app.inject({ method: 'DELETE', url: '/v1/adapters/a' });
  assert.deepEqual(await rows(), []);
});
