// /v1/embeddings: inputs, both encodings, whose weights, usage, and refusals by name.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { EmbeddingsAnswer } from '../../src/server/schemas/embeddings.ts';
import { testApp } from '../helpers/app.ts';
import { tinyShape } from '../models/model-folder.ts';

const url = '/v1/embeddings';

test('input may be a text, token ids, or a list of either', async (t) => {
  const { post, engine } = await testApp(t);
  const inputs = ['ab', ['ab', 'c'], [97, 98], [[97, 98], [99]]];
  for (const [i, input] of inputs.entries()) {
    const answer = await post(url, { model: 'tiny', input });
    assert.ok(Value.Check(EmbeddingsAnswer, answer.json()), answer.body);
    const { data, usage, pooling, model } = answer.json();
    assert.deepEqual(
      data.map(({ index }: { index: number }) => index),
      i % 2 === 0 ? [0] : [0, 1],
    );
    const tokens = i % 2 === 0 ? 2 : 3;
    assert.deepEqual(usage, { prompt_tokens: tokens, total_tokens: tokens });
    assert.deepEqual([pooling, model], ['mean', 'tiny']);
  }
  const submitted = engine.submitted.map(({ promptTokens }) => Buffer.from(promptTokens).toString());
  assert.deepEqual(submitted, ['ab', 'ab', 'c', 'ab', 'ab', 'c']);
  assert.deepEqual(new Set(engine.submitted.map(({ pooling }) => pooling)), new Set(['mean']));
  await post(url, { input: 'ab', pooling: 'last' });
  assert.equal(engine.submitted.at(-1)!.pooling, 'last');
});

test('floats and base64 are the same numbers', async (t) => {
  const { post } = await testApp(t);
  const floats = (await post(url, { input: 'a' })).json().data[0].embedding;
  const text = (await post(url, { input: 'a', encoding_format: 'base64' })).json().data[0].embedding;
  const bytes = Buffer.from(text, 'base64');
  assert.deepEqual(
    floats,
    Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)),
  );
  assert.equal(floats[1], Math.fround(0.8));
});

test('a prompt may fill the context, and one token more is refused', async (t) => {
  const { post } = await testApp(t, { maxContext: 8 });
  assert.equal((await post(url, { input: 'abcdefgh' })).statusCode, 200);
  const { error } = (await post(url, { input: ['a', 'abcdefghi'] })).json();
  assert.deepEqual([error.code, error.param], ['context_length_exceeded', 'input[1]']);
  assert.doesNotMatch(error.message, /output/);
});

test('what it cannot do is refused by its name', async (t) => {
  const { post, engine } = await testApp(t);
  const cases: readonly (readonly [object, string, number])[] = [
    [{}, 'input', 400],
    [{ input: '' }, 'input', 400],
    [{ input: [] }, 'input', 400],
    [{ input: ['a', ''] }, 'input[1]', 400],
    [{ input: [[]] }, 'input[0]', 400],
    [{ input: [99_999] }, 'input[0]', 400],
    [{ input: 'a', dimensions: tinyShape.hidden - 1 }, 'dimensions', 400],
    [{ input: 'a', encoding_format: 'int8' }, 'encoding_format', 400],
    [{ input: 'a', pooling: 'cls' }, 'pooling', 400],
    [{ input: 'a', truncate_prompt_tokens: 4 }, 'truncate_prompt_tokens', 400],
    [{ input: 'a', messages: [] }, 'messages', 400],
    [{ input: Array.from({ length: 257 }, () => 'a') }, 'input', 400],
    [{ input: 'a', model: 'nobody' }, 'model', 404],
  ];
  for (const [body, param, status] of cases) {
    const answer = await post(url, body);
    const { error } = answer.json();
    assert.deepEqual([answer.statusCode, error.param], [status, param], answer.body);
  }
  assert.equal(engine.submitted.length, 0);
  // These values ask for nothing but the default.
  const given = { dimensions: tinyShape.hidden, user: 'u', encoding_format: null, pooling: null };
  assert.equal((await post(url, { input: 'a', ...given })).statusCode, 200);
});

test('usage is the tenant’s, and a refusal of the engine is the answer', async (t) => {
  const { post, engine, app } = await testApp(t);
  await post(url, { input: ['abc', 'de'] });
  const { data } = (await app.inject('/v1/usage')).json();
  const sum = (name: string) => data.reduce((total: number, row: Record<string, number>) => total + row[name]!, 0);
  assert.deepEqual([sum('prompt_tokens'), sum('completion_tokens'), sum('requests')], [5, 0, 1]);
  engine.failure = { code: 'logits_not_finite', message: 'No.' };
  const { error } = (await post(url, { input: 'a' })).json();
  assert.equal(error.code, 'logits_not_finite');
});
