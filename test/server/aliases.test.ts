import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Value } from 'typebox/value';
import { Alias } from '../../src/server/schemas/aliases.ts';
import { testApp } from '../helpers/app.ts';

const url = '/v1/adapters/org%2Fa/aliases/prod';

async function aliased(t: TestContext) {
  const testing = await testApp(t);
  for (const content of ['1', '2']) await testing.registry.add('org/a', { content });
  const put = (payload: object, headers = {}) => testing.app.inject({ method: 'PUT', url, payload, headers });
  return { ...testing, put };
}

test('an alias is made, moved, rolled back and deleted, each under a condition', async (t) => {
  const { app, put } = await aliased(t);
  const made = await put({ version: 1 }, { 'if-none-match': '*' });
  assert.equal(made.statusCode, 200, made.body);
  assert.ok(Value.Check(Alias, made.json()));
  assert.deepEqual([made.json().id, made.json().targets], ['org/a:prod', [{ version: 1, weight: 1 }]]);
  const tag = made.headers.etag as string;
  assert.equal((await put({ version: 2 }, { 'if-none-match': '*' })).statusCode, 412);
  const moved = await put({ version: 2 }, { 'if-match': `W/${tag}` });
  assert.equal(moved.statusCode, 200);
  const late = await put({ version: 1 }, { 'if-match': tag });
  assert.deepEqual([late.statusCode, late.json().error.code], [412, 'alias_changed']);
  const read = await app.inject(url);
  assert.deepEqual([read.headers.etag, read.json()], [moved.headers.etag, moved.json()]);
  assert.deepEqual((await app.inject('/v1/adapters/org%2Fa%402')).json().aliases, ['prod']);
  assert.equal((await app.inject('/v1/adapters/org%2Fa/aliases')).json().data.length, 1);
  const stale = await app.inject({ method: 'DELETE', url, headers: { 'if-match': tag } });
  assert.equal(stale.statusCode, 412);
  const gone = await app.inject({ method: 'DELETE', url });
  assert.deepEqual(gone.json(), { id: 'org/a:prod', object: 'adapter.alias', deleted: true });
  assert.equal((await app.inject(url)).json().error.code, 'alias_not_found');
});

test('an alias may split its requests by weight', async (t) => {
  const { put } = await aliased(t);
  const targets = [
    { version: 1, weight: 0.9 },
    { version: 2, weight: 0.1 },
  ];
  for (const body of [{ targets }, { weights: { 1: 0.9, 2: 0.1 } }, { version: 2, weights: { 1: 0.9, 2: 0.1 } }]) {
    assert.deepEqual((await put(body)).json().targets, targets);
  }
});

test('what an alias cannot mean is refused by name', async (t) => {
  const { put } = await aliased(t);
  const cases: [object, object, string | null][] = [
    [{}, {}, 'version'],
    [{ version: 3 }, {}, null],
    [{ version: 0 }, {}, 'version'],
    [{ version: 1, targets: [{ version: 1, weight: 1 }] }, {}, 'targets'],
    [{ targets: [] }, {}, 'targets'],
    [{ targets: [1, 1].map((version) => ({ version, weight: 1 })) }, {}, 'targets[1].version'],
    [{ version: 1, weights: { 2: 1 } }, {}, 'weights'],
    [{ weights: { prod: 1 } }, {}, 'weights.prod'],
    [{ version: 1 }, { 'if-match': '*' }, 'if-match'],
    [{ version: 1 }, { 'if-none-match': '"1"' }, 'if-none-match'],
    [{ version: 1 }, { 'if-match': '"1"', 'if-none-match': '*' }, 'if-none-match'],
  ];
  for (const [body, headers, param] of cases) {
    const answer = await put(body, headers);
    assert.ok(answer.statusCode === 400 || answer.statusCode === 404, answer.body);
    if (param !== null) assert.equal(answer.json().error.param, param);
  }
});
