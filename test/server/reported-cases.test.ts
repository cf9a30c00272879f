// Requests that failed on other servers or on this one, as people reported them in public: each must be answered right.
// Cases that need weights are in test/clients.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { checkAdapter } from '../../src/registry/check-adapter.ts';
import { testApp } from '../helpers/app.ts';
import { byteTokenizer } from '../helpers/byte-tokenizer.ts';
import { testBase } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';
import { type FormPart, formOf, rowsForm } from './form.ts';

type Tensor = Parameters<typeof writeSafetensors>[0][number];
const zeros = (name: string, ...shape: number[]): Tensor => {
  const bytes = new Uint8Array(new Float32Array(shape.reduce((all, size) => all * size, 1)).fill(0.01).buffer);
  return { name, type: 'F32', shape, bytes };
};

/** Pairs on q_proj of both layers of the tiny base model. */
const pairs = (prefix = 'base_model.model.') =>
  [0, 1].flatMap((layer) => {
    const module = `${prefix}model.layers.${layer}.self_attn.q_proj`;
    return [zeros(`${module}.lora_A.weight`, 2, 8), zeros(`${module}.lora_B.weight`, 8, 2)];
  });
const config = { peft_type: 'LORA', task_type: 'CAUSAL_LM', r: 2, lora_alpha: 4, target_modules: ['q_proj'] };

async function uploading(t: TestContext, deps = {}) {
  const testing = await testApp(t, { registry: { check: checkAdapter, base: testBase }, deps });
  const send = (parts: readonly FormPart[]) =>
    testing.app.inject({ method: 'POST', url: '/v1/adapters', ...formOf(...parts) });
  const upload = (weights: Uint8Array | readonly Tensor[], fields: object = {}, more: readonly FormPart[] = []) => {
    const content = weights instanceof Uint8Array ? weights : writeSafetensors(weights);
    return send([
      { name: 'name', content: 'a' },
      {
        name: 'adapter_config.json',
        filename: 'adapter_config.json',
        content: JSON.stringify({ ...config, ...fields }),
      },
      { name: 'adapter_model.safetensors', filename: 'adapter_model.safetensors', content },
      ...more,
    ]);
  };
  return { ...testing, send, upload };
}

test('an adapter that is loaded already, as vLLM says it', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'lorikeet-root-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'ad'));
  const adapter = tinyAdapter(1);
  writeFileSync(join(root, 'ad/adapter_config.json'), adapter.config);
  writeFileSync(join(root, 'ad/adapter_model.safetensors'), adapter.weights);
  const { post } = await uploading(t, { adapterRoot: root });
  const body = { lora_name: 'twice', lora_path: 'ad' };
  assert.equal((await post('/v1/load_lora_adapter', body)).statusCode, 200);
  const again = await post('/v1/load_lora_adapter', body);
  const { error, message, type } = again.json();
  assert.deepEqual([again.statusCode, error.type, type], [400, 'InvalidUserInput', 'InvalidUserInput']);
  assert.match(error.message, /has already been loaded/);
  assert.equal(message, error.message);
  const gone = await post('/v1/unload_lora_adapter', { lora_name: 'nobody' });
  assert.deepEqual([gone.statusCode, gone.json().error.type], [404, 'NotFoundError']);
});

test('a folder with a pickle', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'lorikeet-root-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'old'));
  writeFileSync(join(root, 'old/adapter_config.json'), JSON.stringify(config));
  writeFileSync(join(root, 'old/adapter_model.bin'), 'PK\x03\x04');
  const { post, send } = await uploading(t, { adapterRoot: root });
  const loaded = (await post('/v1/load_lora_adapter', { lora_name: 'old', lora_path: 'old' })).json().error;
  const sent = await send([
    { name: 'name', content: 'a' },
    { name: 'adapter_config.json', filename: 'adapter_config.json', content: JSON.stringify(config) },
    { name: 'adapter_model.bin', filename: 'adapter_model.bin', content: 'PK\x03\x04' },
  ]);
  for (const error of [loaded, sent.json().error]) {
    assert.deepEqual([error.code, error.param], ['adapter_invalid', 'adapter_model.bin']);
    assert.match(error.message, /is a pickle, which is not read: .*safe_serialization=True/);
  }
});

test('a list with names of other models', async (t) => {
  const { upload } = await uploading(t);
  const answer = await upload(pairs(), { target_modules: ['c_attn', 'q_proj', 'query_key_value'] });
  assert.equal(answer.statusCode, 201, answer.body);
  assert.match(answer.json().warnings.join(), /"c_attn", "query_key_value", for which there are no tensors/);
});

test('a head that PEFT saves by default', async (t) => {
  const { upload } = await uploading(t);
  const head = 'base_model.model.lm_head';
  const pair = [zeros(`${head}.lora_A.weight`, 2, 8), zeros(`${head}.lora_B.weight`, 10, 2)];
  const fields = { target_modules: ['lm_head', 'q_proj'] };
  const answer = await upload([...pairs(), ...pair, zeros(`${head}.base_layer.weight`, 10, 8)], fields);
  assert.equal(answer.statusCode, 201, answer.body);
  assert.match(answer.json().warnings.join(), /left out: "base_model.model.lm_head.base_layer.weight"/);
  const grown = await upload([...pairs(), ...pair, zeros(`${head}.base_layer.weight`, 12, 8)], fields);
  assert.equal(grown.statusCode, 400);
  assert.match(grown.json().error.message, /12 tokens, 2 tokens more than the base model's 10/);
});

test('names without a prefix, and a mixture', async (t) => {
  const { upload } = await uploading(t);
  assert.equal((await upload(pairs(''))).statusCode, 201);
  const mixture = await upload([...pairs('').slice(0, 2), ...pairs().slice(2)]);
  assert.deepEqual([mixture.statusCode, mixture.json().error.code], [400, 'adapter_invalid']);
});

test('files that are no safetensors at all are named for what they are', async (t) => {
  const { upload } = await uploading(t);
  const lfs = `version https://git-lfs.github.com/spec/v1\noid sha256:${'4e'.repeat(32)}\nsize 218138576\n`;
  const cases: [string | Uint8Array, RegExp][] = [
    [lfs, /is a Git LFS pointer: fetch the file itself with `git lfs pull`/],
    ['<!DOCTYPE html><html><head><title>Sign in</title></head></html>', /is an HTML page/],
    [
      Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(200)]),
      /is a zip, as torch\.save writes; save .* safetensors/,
    ],
    [Buffer.concat([Buffer.from([0x80, 0x02]), Buffer.from('}q\0X\x04')]), /is a pickle/],
    [Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0]), /is compressed with gzip/],
    ['', /is empty/],
    ['{"error":"not found"}', /is a text, not safetensors/],
  ];
  for (const [content, says] of cases) {
    const { error } = (await upload(Buffer.from(content))).json();
    assert.deepEqual([error.code, error.param], ['adapter_invalid', 'adapter_model.safetensors']);
    assert.match(error.message, says);
  }
});

test("top_p of 0, and seeds of OpenAI's range", async (t) => {
  const { app, post, engine } = await testApp(t, { says: 'ok' });
  const url = '/v1/chat/completions';
  const messages = [{ role: 'user', content: 'hi' }];
  assert.equal((await post(url, { messages, top_p: 0 })).statusCode, 200);
  assert.deepEqual([engine.submitted[0]!.params.topK, engine.submitted[0]!.params.topP], [1, 1]);
  const seeds = ['9223372036854775807', '9223372036854775806', '-9223372036854775808', '9007199254740993', '5', '-1'];
  for (const seed of seeds) {
    const payload = `{"messages":${JSON.stringify(messages)},"seed":${seed}}`;
    const answer = await app.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json' } });
    assert.equal(answer.statusCode, 200, answer.body);
  }
  const used = engine.submitted.slice(1).map(({ params }) => params.seed!);
  assert.ok(used.every(Number.isSafeInteger));
  assert.equal(new Set(used).size, seeds.length);
  assert.deepEqual(used.slice(4), [5, -1]);
  assert.equal((await post(url, { messages, seed: 1e20 })).json().error.param, 'seed');
});

test('a history with calls of tools, whose content is null, and their results', async (t) => {
  const { post, engine } = await testApp(t, { says: 'ok' });
  const call = { id: 'c1', type: 'function', function: { name: 'w', arguments: '{}' } };
  const [user, result] = [
    { role: 'user', content: 'weather?' },
    { role: 'tool', tool_call_id: 'c1', content: 'sunny' },
  ];
  for (const content of [null, '', undefined]) {
    const messages = [user, { role: 'assistant', content, tool_calls: [call] }, result];
    const answer = await post('/v1/chat/completions', { messages, max_tokens: 4 });
    assert.equal(answer.statusCode, 200, answer.body);
    const prompt = byteTokenizer().decode(engine.submitted.at(-1)!.promptTokens);
    assert.match(prompt, /<tool_call>\n\{"name":"w","arguments":\{\}\}[\s\S]*<tool_response>\nsunny/);
  }
  const broken = { ...call, function: { name: 'w', arguments: '{' } };
  const refused = await post('/v1/chat/completions', {
    messages: [user, { role: 'assistant', content: null, tool_calls: [broken] }],
  });
  assert.equal(refused.json().error.param, 'messages[1].tool_calls[0].function.arguments');
  const nothing = await post('/v1/chat/completions', { messages: [{ role: 'user', content: null }] });
  assert.equal(nothing.json().error.param, 'messages[0].content');
});

test('lm-eval’s question for a likelihood: echo with log-probabilities, of the prompt and one token', async (t) => {
  const { post, engine } = await testApp(t, { says: 'd' });
  const asked = { max_tokens: 1, echo: true, logprobs: 1, temperature: 0, seed: 1234 };
  const prompts: [unknown, string][] = [
    [['abc', 'a'], 'abcd'],
    [
      [
        [97, 98],
        [98, 99, 97],
      ],
      'abd',
    ],
  ];
  for (const [prompt, text] of prompts) {
    const answer = await post('/v1/completions', { ...asked, prompt });
    assert.equal(answer.statusCode, 200, answer.body);
    const { choices } = answer.json();
    assert.deepEqual([choices.length, choices[0].text], [2, text]);
    const { token_logprobs: values, tokens, top_logprobs: top } = choices[0].logprobs;
    assert.deepEqual([tokens.length, values.length, top.length], [text.length, text.length, text.length]);
    assert.equal(values[0], null);
    assert.ok(values.slice(1).every((value: unknown) => typeof value === 'number'));
  }
  assert.ok(engine.submitted.every(({ promptLogprobs }) => promptLogprobs === 1));
});

test('a training file with blank lines, and with a byte order mark', async (t) => {
  const { app } = await testApp(t);
  const rows = '{"prompt":"Hi","completion":" Hello"}\r\n\r\n{"prompt":"Bye","completion":" Goodbye"}\n\n';
  for (const text of [rows, `\ufeff${rows}`]) {
    const answer = await app.inject({ method: 'POST', url: '/v1/files', ...rowsForm(text) });
    assert.deepEqual([answer.statusCode, answer.json().rows], [200, 2], answer.body);
  }
  const blank = await app.inject({ method: 'POST', url: '/v1/files', ...rowsForm('\n\n') });
  assert.match(blank.json().error.message, /blank lines only/);
});

test('training rows as the answers of chat completions have them', async (t) => {
  const { app } = await testApp(t);
  const answer = { role: 'assistant', content: 'Hello', refusal: null, tool_calls: null, function_call: null };
  const messages = [
    { role: 'user', content: 'Hi', name: null },
    { ...answer, audio: null, annotations: [], weight: null },
  ];
  const row = JSON.stringify({ messages, tools: [], parallel_tool_calls: false });
  const sent = await app.inject({ method: 'POST', url: '/v1/files', ...rowsForm(`${row}\n`) });
  assert.deepEqual([sent.statusCode, sent.json().rows], [200, 1], sent.body);
});

test('an expression that Unsloth writes', async (t) => {
  const { upload } = await uploading(t);
  const tags = '(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)';
  const names = '(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)';
  const layers = `(?:\\bmodel\\.layers\\.[\\d]{1,}\\.${tags}\\.(?:${names}))`;
  const target_modules = `(?:.*?(?:language|text).*?${tags}.*?${names}.*?)|${layers}`;
  const answer = await upload(pairs(), { target_modules, base_model_name_or_path: 'unsloth/tiny' });
  assert.equal(answer.statusCode, 201, answer.body);
  assert.deepEqual(answer.json().target_modules, ['q_proj']);
});

test('what travels with an adapter and is not applied is said', async (t) => {
  const { upload } = await uploading(t);
  const more = ['chat_template.jinja', 'added_tokens.json', 'README.md'].map((name) => ({
    ...{ name, filename: name, content: 'x' },
  }));
  const answer = await upload(pairs(), {}, more);
  assert.equal(answer.statusCode, 201, answer.body);
  assert.match(answer.json().warnings.join(), /^Not applied: chat_template\.jinja, added_tokens\.json\./);
});

test('null and empty mean absent in messages, options and lists', async (t) => {
  const { post, engine } = await testApp(t, { says: 'ok' });
  const messages = [
    { role: 'user', content: 'a', name: null, audio: null },
    { role: 'assistant', content: 'b', refusal: null, tool_calls: null, function_call: null, annotations: [] },
    { role: 'user', content: [{ type: 'text', text: 'c', cache_control: null }] },
  ];
  const nothing = { stop: '', logit_bias: { 5: null }, stream_options: null, tools: [], functions: [], seed: null };
  const answer = await post('/v1/chat/completions', { messages, ...nothing, response_format: null, n: null });
  assert.equal(answer.statusCode, 200, answer.body);
  assert.deepEqual(engine.submitted[0]!.params.logitBias, []);
  assert.equal((await post('/v1/chat/completions', { messages, stop: [''] })).statusCode, 200);
  const streamed = { messages, stream: true, stream_options: { include_usage: 'true' } };
  assert.match((await post('/v1/chat/completions', streamed)).body, /"choices":\[\],"usage":\{/);
});

test('a choice of adapter by another server’s name is refused, never answered by the base', async (t) => {
  const { post } = await testApp(t);
  const fields = { lora: [{ id: 0, scale: 1 }], lora_path: 'x', lora_request: {}, grammar: 'root ::= "a"', regex: 'a' };
  for (const [name, value] of Object.entries(fields)) {
    const { error } = (
      await post('/v1/chat/completions', { messages: [{ role: 'user', content: 'a' }], [name]: value })
    ).json();
    assert.deepEqual([error.code, error.param], ['unsupported_parameter', name]);
  }
});

test('a prompt that is too long is said in the words that clients look for', async (t) => {
  const { post } = await testApp(t);
  const { error } = (await post('/v1/completions', { prompt: 'x', max_tokens: 100_000 })).json();
  assert.equal(error.code, 'context_length_exceeded');
  assert.match(
    error.message,
    /^This model's maximum context length is \d+ tokens\. However, you requested 100001 tokens/,
  );
});
