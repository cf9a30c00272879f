// The routes of merges, on an engine that reports what the test tells it to.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { limits } from '../../src/core/limits.ts';
import { eventsOf, listen } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';
import { addressOf, codeOf, keyOf, mergeApp } from './merge-app.ts';

test('a merge goes on, is merged, serves, and is taken back', async (t) => {
  const { registry, engine, post, merge, unmerge, merged, say, called, list } = await mergeApp(t);
  const { digest } = await registry.add('org/a');
  const key = keyOf({ digest });

  const asked = await merge('org/a', { bits: 4 });
  assert.equal(asked.statusCode, 202, asked.body);
  const { id, created_at, ...fields } = asked.json();
  assert.match(id, /^merge-[0-9a-f]{16}$/);
  assert.ok(created_at > 0);
  const adapters = [{ id: 'org/a@1', name: 'org/a', version: 1, digest, weight: 1 }];
  assert.deepEqual(fields, {
    ...{ object: 'merge', state: 'merging', progress: 0, adapters, bits: 4, bytes: null, seconds: null, share: 0 },
    ...{ quality: null, automatic: false, created_by: null, error: null },
  });
  const request = engine.merges.get(called(key));
  assert.deepEqual([request?.bits, request?.adapters[0]?.files.digest], [4, digest]);
  assert.equal(request?.probes.length, 12);
  assert.ok(request?.probes.every(({ length }) => length > 0 && length <= limits.mergeProbeTokens));

  say(key, { state: 'merging', progress: 0.5 });
  assert.equal((await list()).data[0]?.progress, 0.5);
  merged(key);
  const again = await merge('org/a');
  assert.equal(again.statusCode, 200, 'merged already');
  const { state, progress, bits, bytes, seconds, quality: told } = again.json();
  assert.deepEqual([again.json().id, state, progress, bits, bytes, seconds], [id, 'merged', 1, 4, 400, 1.5]);
  assert.deepEqual(told, { positions: 500, mean_kl: 0.01, max_kl: 0.5, top1_agreement: 0.98 });
  const { data, ...memory } = await list();
  assert.deepEqual([data.length, memory.budget_bytes, memory.used_bytes], [1, 1_000_000, 400]);

  const answer = await post('/v1/generate', { prompt: 'x', adapter_id: 'org/a', max_tokens: 3 });
  assert.equal(answer.json().adapter.merged_bits, 4);
  const scaled = { prompt: 'x', adapter_id: 'org/a', adapter_scale: 0.5, stream: true };
  const last = eventsOf((await post('/v1/generate', scaled)).body).at(-2) as { adapter: { merged_bits: null } };
  assert.equal(last.adapter.merged_bits, null, 'another scale is other weights');
  assert.equal((await post('/v1/generate', { prompt: 'x' })).json().adapter, null);

  const left = await unmerge('org/a@1');
  assert.deepEqual([left.statusCode, left.json().state], [200, 'unmerged'], left.body);
  assert.deepEqual([engine.merges.size, registry.held], [0, 0]);
  assert.deepEqual((await list()).data, []);
  assert.equal(codeOf(await unmerge('org/a')), 'merge_not_found');
});

test('the share of the traffic is that of all generated tokens, those of the base included', async (t) => {
  const { registry, post, merge, list } = await mergeApp(t);
  await registry.add('a');
  await merge('a');
  await post('/v1/generate', { prompt: 'x', adapter_id: 'a', max_tokens: 6, ignore_eos: true });
  await post('/v1/generate', { prompt: 'x', max_tokens: 18, ignore_eos: true });
  assert.equal((await list()).data[0]?.share, 0.25);
});

test('a merge that is waited for answers when it is merged, or when its time is up', async (t) => {
  const { registry, engine, merge, merged } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const waiting = merge('a', { wait: true });
  await until(() => engine.merges.size === 1);
  merged(keyOf({ digest }));
  assert.equal((await waiting).statusCode, 200);

  const impatient = await mergeApp(t, { deps: { limits: { ...limits, mergeWaitMs: 30 } } });
  await impatient.registry.add('a');
  const answer = await impatient.merge('a', { wait: true });
  assert.deepEqual([answer.statusCode, answer.json().state], [202, 'merging']);
});

test('a merge whose asker leaves is in the audit log, and asked again with its key it is answered', async (t) => {
  const { app, registry, engine, audit, log, merge, merged, unmerge } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const headers = { 'idempotency-key': 'k', 'content-type': 'application/json' };
  const left = new AbortController();
  const address = `http://127.0.0.1:${await listen(app)}${addressOf('a')}`;
  const asking = fetch(address, { method: 'POST', headers, body: '{"wait":true}', signal: left.signal });
  await until(() => engine.merges.size === 1);
  left.abort();
  await assert.rejects(asking);
  await until(() => log.some(({ status }) => status === 499));
  merged(keyOf({ digest }));
  const everything = { tenant: null, actor: null, action: null, since: null, until: null, before: null, limit: 10 };
  while ((await audit.read(everything)).length === 0) await wait(1);
  const again = await merge('a', { wait: true }, headers);
  assert.deepEqual([again.statusCode, again.headers['idempotent-replayed']], [202, 'true']);
  await unmerge('a');
  const entries = await audit.read(everything);
  assert.deepEqual(
    entries.map(({ action, target, before }) => [action, target, (before as { state: string } | null)?.state]),
    [
      ['merges.delete', 'a', 'merged'],
      ['merges.create', 'a', undefined],
    ],
  );
  assert.deepEqual(
    log.filter(({ level }) => Number(level) >= 50),
    [],
  );
});

test('other bits than a merge has are refused until it is unmerged', async (t) => {
  const { registry, merge, unmerge, merged } = await mergeApp(t);
  const { digest } = await registry.add('a');
  await merge('a', { bits: 4 });
  const refused = await merge('a', { bits: 8 });
  assert.deepEqual([codeOf(refused), refused.json().error.param], ['invalid_parameter', 'bits']);
  merged(keyOf({ digest }));
  assert.equal((await merge('a', { bits: 4 })).statusCode, 200);
  assert.equal(codeOf(await merge('a', { bits: 32 })), 'invalid_parameter');
  await unmerge('a');
  assert.equal((await merge('a', { bits: 32 })).statusCode, 202);
});

test('a refusal of the engine is the answer to who waits, stays in the list, and may be tried again', async (t) => {
  const { registry, engine, merge, unmerge, say, called, merged, list } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const key = keyOf({ digest });
  const waiting = merge('a', { wait: true, bits: 32 });
  await until(() => engine.merges.size === 1);
  say(key, { state: 'failed', code: 'merge_budget_exceeded', message: 'It needs 2000 bytes; 600 are left.' });
  const refused = await waiting;
  assert.equal(refused.statusCode, 409);
  assert.deepEqual(codeOf(refused), 'merge_budget_exceeded');
  assert.match(refused.json().error.message, /2000 bytes/);
  const [failed] = (await list()).data;
  assert.deepEqual([failed?.state, failed?.error?.code], ['failed', 'merge_budget_exceeded']);

  const again = await merge('a', { bits: 4 });
  assert.deepEqual([again.statusCode, again.json().state, again.json().bits], [202, 'merging', 4]);
  assert.equal(engine.merges.get(called(key))?.bits, 4);
  merged(key);
  assert.equal((await merge('a')).statusCode, 200);
  say(key, { state: 'failed', code: 'engine_failed', message: 'No more.' });
  const left = await unmerge('a');
  assert.deepEqual([left.statusCode, left.json().state, registry.held], [200, 'unmerged', 0]);
});

test('an alias means the version of that moment; moved, it leads to no merge', async (t) => {
  const { app, registry, engine, post, merge, unmerge, merged } = await mergeApp(t);
  const first = await registry.add('a', { content: '1' });
  await registry.add('a', { content: '2' });
  const point = (version: number) =>
    app.inject({ method: 'PUT', url: '/v1/adapters/a/aliases/prod', payload: { version } });
  await point(1);
  const asked = await merge('a:prod');
  assert.equal(asked.json().adapters[0].id, 'a@1');
  merged(keyOf(first));
  const ask = async () => (await post('/v1/generate', { prompt: 'x', adapter_id: 'a:prod' })).json().adapter;
  assert.deepEqual([(await ask()).version, (await ask()).merged_bits], [1, 4]);
  await point(2);
  assert.deepEqual([(await ask()).version, (await ask()).merged_bits], [2, null]);
  assert.equal(codeOf(await unmerge('a:prod')), 'merge_not_found');
  assert.equal(engine.merges.size, 1);
  assert.equal((await unmerge('a@1')).statusCode, 200);
});

test('several adapters are one merge, by their weights and their order', async (t) => {
  const { registry, engine, post, merge, unmerge, merged, list } = await mergeApp(t);
  const [a, b] = [await registry.add('a'), await registry.add('b')];
  const parts = [{ id: 'a', weight: 0.5 }, { id: 'b' }];
  const asked = await merge('b', { adapters: parts });
  assert.deepEqual(
    asked.json().adapters.map(({ id, weight }: { id: string; weight: number }) => [id, weight]),
    [
      ['a@1', 0.5],
      ['b@1', 1],
    ],
  );
  const key = keyOf({ ...a, scale: 0.5 }, b);
  assert.deepEqual([...engine.merges.keys()], [key]);
  merged(key);
  const adapters = [{ id: 'a', scale: 0.5 }, { id: 'b' }];
  const answer = await post('/v1/generate', { prompt: 'x', adapters });
  assert.deepEqual(
    answer.json().adapters.map(({ merged_bits }: { merged_bits: number }) => merged_bits),
    [4, 4],
  );
  const alone = await unmerge('a');
  assert.equal(codeOf(alone), 'merge_not_found');
  assert.match(alone.json().error.message, new RegExp(asked.json().id));
  assert.equal((await merge('a')).statusCode, 202, 'a alone is another merge');
  assert.equal((await unmerge('a', `?merge=${asked.json().id}`)).statusCode, 200);
  assert.deepEqual(
    (await list()).data.map(({ adapters: [first, ...rest] }) => [first?.id, rest.length]),
    [['a@1', 0]],
  );
});

test('what cannot be merged is refused with its parameter, and leaves nothing', async (t) => {
  const { app, registry, engine, merge, unmerge, list } = await mergeApp(t);
  await registry.add('a');
  const { digest } = await registry.add('damaged', { content: 'x' });
  await registry.markCorrupt(digest);
  const adapters = [{ id: 'a' }, { id: 'nobody' }];
  const cases: [Promise<Awaited<ReturnType<typeof merge>>>, number, string, string | null][] = [
    [merge('nobody'), 404, 'adapter_not_found', 'id'],
    [merge('a:nobody'), 404, 'adapter_not_found', 'id'],
    [merge('a', { adapters }), 404, 'adapter_not_found', 'adapters[1].id'],
    [merge('a', { adapters: [{ id: 'damaged' }] }), 400, 'invalid_parameter', 'adapters'],
    [merge('damaged'), 500, 'adapter_corrupt', 'id'],
    [merge('a', { bits: 5 }), 400, 'invalid_parameter', 'bits'],
    [merge('a', { adapters: [{ id: 'a', weight: 0 }] }), 400, 'invalid_parameter', 'adapters[0].weight'],
    [merge('a', { adapters: [{ id: 'a', scale: 1 }] }), 400, 'unknown_parameter', 'adapters[0].scale'],
    [merge('a', { bit: 4 }), 400, 'unknown_parameter', 'bit'],
    [unmerge('nobody'), 404, 'adapter_not_found', 'id'],
    [unmerge('a'), 404, 'merge_not_found', 'id'],
    [unmerge('a', '?merge=x'), 404, 'merge_not_found', 'merge'],
  ];
  for (const [asked, status, code, param] of cases) {
    const answer = await asked;
    assert.deepEqual([answer.statusCode, codeOf(answer), answer.json().error.param], [status, code, param]);
  }
  assert.deepEqual([engine.merges.size, registry.held, (await list()).data.length], [0, 0, 0]);
  const bare = await app.inject({ method: 'POST', url: addressOf('a') });
  assert.equal(bare.statusCode, 202, 'no body, no wishes');
});

test('a tenant has so many merges and no more', async (t) => {
  const { registry, merge } = await mergeApp(t, { deps: { limits: { ...limits, merges: 2 } } });
  for (const name of ['a', 'b', 'c']) await registry.add(name);
  assert.deepEqual([(await merge('a')).statusCode, (await merge('b')).statusCode], [202, 202]);
  const refused = await merge('c');
  assert.deepEqual([refused.statusCode, codeOf(refused)], [409, 'merge_budget_exceeded']);
});

test('metrics: merges by state, their memory, and what ran on them', async (t) => {
  const { app, registry, post, merge, merged } = await mergeApp(t);
  const { digest } = await registry.add('a');
  await registry.add('b');
  await merge('a');
  await merge('b');
  merged(keyOf({ digest }));
  await post('/v1/generate', { prompt: 'x', adapter_id: 'a' });
  await post('/v1/generate', { prompt: 'x' });
  const { body } = await app.inject('/metrics');
  for (const line of [
    'lorikeet_merges{state="merged"} 1',
    'lorikeet_merges{state="merging"} 1',
    'lorikeet_merges{state="failed"} 0',
    'lorikeet_merged_bytes 400',
    'lorikeet_merge_budget_bytes 1000000',
    'lorikeet_merge_seconds_sum 1.5',
    'lorikeet_merged_sequences_total{bits="4"} 1',
  ]) {
    assert.ok(body.includes(`\n${line}\n`), line);
  }
});

test('what one tenant merges changes nothing for another with the same content; equal ones share memory', async (t) => {
  const testing = await mergeApp(t);
  const { app, registry, keys, engine, say } = testing;
  const headersOf = async (tenant: string) => {
    const { key } = await keys.create({ tenant, name: 'n', scopes: ['generate', 'admin'] });
    return { authorization: `Bearer ${key}` };
  };
  const [one, two] = [await headersOf('one'), await headersOf('two')];
  const { digest } = await registry.add('a', { tenant: 'one', content: 'same' });
  await registry.add('b', { tenant: 'two', content: 'same' });
  const key = keyOf({ digest });
  const bitsOf = async (adapter_id: string, headers: Record<string, string>) =>
    (await app.inject({ method: 'POST', url: '/v1/generate', payload: { prompt: 'x', adapter_id }, headers })).json()
      .adapter.merged_bits;
  const usedBy = async (headers: Record<string, string>) => (await testing.list(headers)).used_bytes;

  await testing.merge('a', { bits: 4 }, one);
  testing.merged(key);
  assert.deepEqual([await bitsOf('a', one), await bitsOf('b', two)], [4, null]);
  assert.deepEqual([await usedBy(one), await usedBy(two)], [400, 0]);

  await testing.merge('b', { bits: 8 }, two);
  say(key, { state: 'merged', bits: 8, bytes: 800, ms: 1, quality: null });
  assert.deepEqual([await bitsOf('a', one), await bitsOf('b', two)], [4, 8]);
  assert.equal(engine.merges.size, 2);
  await app.inject({ method: 'DELETE', url: addressOf('b'), headers: two });
  await testing.merge('b', { bits: 4 }, two);
  assert.equal(engine.merges.size, 1, 'the same wish is one merge');
  assert.deepEqual([await bitsOf('a', one), await bitsOf('b', two)], [4, 4]);
  await app.inject({ method: 'DELETE', url: addressOf('a'), headers: one });
  assert.deepEqual([await bitsOf('a', one), await bitsOf('b', two)], [null, 4]);
});
