import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { ModelList } from '../../src/server/schemas/models.ts';
import { testApp } from '../helpers/app.ts';

test('the base model is listed with its digest and context', async (t) => {
  const { app } = await testApp(t);
  const list = (await app.inject('/v1/models')).json();
  assert.ok(Value.Check(ModelList, list));
  assert.deepEqual(list.data, [
    {
      id: 'tiny',
      object: 'model',
      created: 1_700_000_000,
      owned_by: 'lorikeet',
      root: `sha256:${'a'.repeat(64)}`,
      parent: null,
      max_model_len: 512,
      permission: [],
    },
  ]);
  assert.deepEqual((await app.inject('/v1/models/tiny')).json(), list.data[0]);
});

test('a model that does not exist is a 404, its name read from the address', async (t) => {
  const { app, post } = await testApp(t);
  const answer = await app.inject('/v1/models/org%2Fname');
  assert.equal(answer.statusCode, 404);
  assert.deepEqual(answer.json().error, {
    message: "The model 'org/name' does not exist.",
    type: 'not_found_error',
    param: 'model',
    code: 'model_not_found',
  });
  const chat = await post('/v1/chat/completions', { model: 'x', messages: [{ role: 'user', content: 'a' }] });
  assert.equal(chat.json().error.code, 'model_not_found');
});
