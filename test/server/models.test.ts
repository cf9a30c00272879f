import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { ModelList } from '../../src/server/schemas/models.ts';
import { testApp } from '../helpers/app.ts';

const base = {
  id: 'tiny',
  object: 'model',
  created: 1_700_000_000,
  owned_by: 'lorikeet',
  root: `sha256:${'a'.repeat(64)}`,
  parent: null,
  max_model_len: 512,
  permission: [],
};

test('the base model is listed with its digest and context', async (t) => {
  const { app } = await testApp(t);
  const list = (await app.inject('/v1/models')).json();
  assert.ok(Value.Check(ModelList, list));
  assert.deepEqual(list.data, [base]);
  assert.deepEqual((await app.inject('/v1/models/tiny')).json(), base);
});

test("the caller's adapters follow, with the base model as parent and their digest as root", async (t) => {
  const { app, registry } = await testApp(t);
  await registry.add('org/b', { content: '1' });
  const { digest } = await registry.add('org/b', { content: '2' });
  await registry.add('a');
  await registry.add('hidden', { tenant: 'b' });
  const list = (await app.inject('/v1/models')).json();
  assert.ok(Value.Check(ModelList, list));
  const named = list.data.map(({ id, parent }) => [id, parent]);
  assert.deepEqual(named, [
    ['tiny', null],
    ['a', 'tiny'],
    ['org/b', 'tiny'],
  ]);
  const { created, ...card } = list.data[2]!;
  assert.ok(Number.isInteger(created));
  const versions = ['org/b@2', 'org/b@1'];
  assert.deepEqual({ ...base, ...card }, { ...base, id: 'org/b', root: digest, parent: 'tiny', versions });
  const one = (await app.inject('/v1/models/org%2Fb%401')).json();
  assert.equal(one.id, 'org/b@1');
  assert.notEqual(one.root, digest);
});

test('more adapters than a page are all listed', async (t) => {
  const { app, registry } = await testApp(t);
  for (let i = 0; i < 201; i++) await registry.add(`adapter-${String(i).padStart(3, '0')}`);
  assert.equal((await app.inject('/v1/models')).json().data.length, 202);
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
  assert.deepEqual([chat.json().error.code, chat.json().error.param], ['model_not_found', 'model']);
});

test('deleting a model deletes the adapter, or its one version', async (t) => {
  const { app, registry } = await testApp(t);
  for (const content of ['1', '2', '3']) await registry.add('a', { content });
  const remove = (id: string) =>
    app.inject({
      method: 'DELETE',
      url: `/v1/models/${encodeURIComponent(id)}`,
      // OpenAI's Python client sends this content type without a body.
      headers: { 'content-type': 'application/json' },
    });
  assert.deepEqual((await remove('a@2')).json(), { id: 'a@2', object: 'model', deleted: true });
  assert.equal((await registry.versions('default', 'a')).length, 2);
  for (const id of ['tiny', 'a:prod']) assert.equal((await remove(id)).json().error.code, 'invalid_parameter');
  assert.equal((await remove('a')).statusCode, 200);
  assert.equal((await remove('a')).json().error.code, 'model_not_found');
});

test('the list may be cut after some adapters, down to the base model alone', async (t) => {
  const { app, registry } = await testApp(t);
  for (const name of ['a', 'b', 'c']) await registry.add(name);
  const ids = async (query: string) =>
    (await app.inject(`/v1/models${query}`)).json().data.map(({ id }: { id: string }) => id);
  assert.deepEqual(await ids(''), ['tiny', 'a', 'b', 'c']);
  assert.deepEqual(await ids('?limit=2'), ['tiny', 'a', 'b']);
  assert.deepEqual(await ids('?limit=0'), ['tiny']);
  assert.equal((await app.inject('/v1/models?limit=-1')).json().error.code, 'invalid_parameter');
});
