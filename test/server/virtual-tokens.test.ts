// Adapters with virtual tokens in requests: what reaches the engine, and what is refused by name.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../helpers/waits.ts';
import { codeOf, keyOf, mergeApp } from './merge-app.ts';

const url = '/v1/generate';

test('they go to the engine with their count, beside pairs and on a merge of these', async (t) => {
  const { registry, engine, post, merge, merged, called } = await mergeApp(t);
  const pairs = await registry.add('pairs');
  const tokens = await registry.add('tokens', { virtualTokens: 7 });
  await merge('pairs');
  merged(keyOf(pairs));
  const adapters = [{ id: 'pairs' }, { id: 'tokens' }];
  const answer = await post(url, { prompt: 'x', adapters, max_tokens: 2 });
  assert.equal(answer.statusCode, 200, answer.body);
  assert.equal(answer.headers['x-adapter-digest'], `${pairs.digest}, ${tokens.digest}`);
  await post(url, { prompt: 'x', adapter_id: 'tokens', max_tokens: 2 });
  assert.deepEqual(
    engine.submitted.map(({ adapters, mergeKey }) => [
      ...[adapters.map(({ virtualTokens = 0 }) => virtualTokens), mergeKey],
    ]),
    [
      [[0, 7], called(keyOf(pairs))],
      [[7], null],
    ],
  );
  await until(() => registry.held === 1);
});

test('a version says how many tokens it has', async (t) => {
  const { registry, app } = await mergeApp(t);
  await registry.add('tokens', { virtualTokens: 7 });
  const { data } = (await app.inject({ url: '/v1/adapters' })).json();
  assert.deepEqual([data[0].virtual_tokens, data[0].r, data[0].target_modules], [7, 0, []]);
});

test('refused by name: a scale, two of them, no room for the prompt, a merge', async (t) => {
  const { registry, engine, post, merge } = await mergeApp(t);
  await registry.add('pairs');
  await registry.add('tokens', { virtualTokens: 7 });
  await registry.add('others', { virtualTokens: 3 });
  await registry.add('long', { virtualTokens: 510 });
  const cases: [body: object, code: string, param: string, reason: RegExp][] = [
    [{ adapter_id: 'tokens', adapter_scale: 0.5 }, 'adapter_unsupported', 'adapter_id', /no scale: only 1/],
    [{ adapters: [{ id: 'tokens' }, { id: 'tokens' }] }, 'adapter_unsupported', 'adapters[1].id', /no scale/],
    [{ adapters: [{ id: 'tokens' }, { id: 'others' }] }, 'adapter_unsupported', 'adapters[1].id', /one may have/],
    [{ adapter_id: 'long', prompt: 'xxx' }, 'context_length_exceeded', 'adapter_id', /3 tokens, .* 510 virtual/],
  ];
  for (const [body, code, param, reason] of cases) {
    const answer = await post(url, { prompt: 'x', ...body });
    const { error } = answer.json();
    assert.deepEqual([answer.statusCode, error.code, error.param], [400, code, param], answer.body);
    assert.match(error.message, reason);
  }
  assert.equal((await post(url, { prompt: 'x', adapter_id: 'long', max_tokens: 1 })).statusCode, 200);
  await until(() => registry.held === 0);
  assert.equal(engine.submitted.length, 1);
  for (const answer of [
    await merge('tokens'),
    await merge('pairs', { adapters: [{ id: 'pairs' }, { id: 'tokens' }] }),
  ]) {
    assert.deepEqual([answer.statusCode, codeOf(answer)], [400, 'adapter_unsupported'], answer.body);
    assert.match(answer.json().error.message, /virtual tokens, which change no weights/);
  }
});
