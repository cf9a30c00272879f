// Merges through HTTP, on an engine that says what the test wants it to say.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { mergeKey } from '../../src/core/adapter.ts';
import { limits } from '../../src/core/limits.ts';
import type { MergeEvent } from '../../src/protocol/messages.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { eventsOf, listen, type TestApp, type TestAppOptions, testApp, until } from '../helpers/app.ts';
import { temporaryFolder } from '../helpers/test-registry.ts';

const quality = { positions: 500, meanKl: 0.01, maxKl: 0.5, top1Agreement: 0.98 };
const addressOf = (id: string) => `/v1/admin/adapters/${encodeURIComponent(id)}/merge`;
const keyOf = (...adapters: readonly { digest: string; scale?: number }[]) =>
  mergeKey(adapters.map(({ digest, scale = 1 }) => ({ files: { digest }, scale })));

type MergeJson = Record<string, unknown> & {
  id: string;
  state: string;
  adapters: { id: string }[];
  error: { code: string } | null;
  quality: { mean_kl: number } | null;
};

async function mergeApp(t: TestContext, options: TestAppOptions = {}) {
  const testing = await testApp(t, options);
  const { app, engine, post } = testing;
  const say = (key: string, event: Partial<MergeEvent>) => engine.tellMerge({ key, ...event } as MergeEvent);
  return {
    ...testing,
    say,
    merged: (key: string) => say(key, { state: 'merged', bits: 4, bytes: 400, ms: 1500, quality }),
    merge: (id: string, body: object = {}, headers = {}) => post(addressOf(id), body, headers),
    unmerge: (id: string, query = '') => app.inject({ method: 'DELETE', url: `${addressOf(id)}${query}` }),
    list: async (headers = {}) => (await app.inject({ url: '/v1/admin/merges', headers })).json() as MergeList,
  };
}
type MergeList = { data: MergeJson[]; budget_bytes: number; used_bytes: number };

const codeOf = (answer: { json(): { error: { code: string; param: string | null } } }) => answer.json().error.code;

test('a merge goes on, is merged, serves, and is taken back', async (t) => {
  const { registry, engine, post, merge, unmerge, merged, say, list } = await mergeApp(t);
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
  const request = engine.merges.get(key);
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
  const { registry, merge, merged } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const waiting = merge('a', { wait: true });
  await until(() => registry.held === 1);
  merged(keyOf({ digest }));
  assert.equal((await waiting).statusCode, 200);

  const impatient = await mergeApp(t, { deps: { limits: { ...limits, mergeWaitMs: 30 } } });
  await impatient.registry.add('a');
  const answer = await impatient.merge('a', { wait: true });
  assert.deepEqual([answer.statusCode, answer.json().state], [202, 'merging']);
});

test('a caller who leaves ends the waiting and not the merge', async (t) => {
  const { app, registry, engine, merged, list } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const socket = connect(await listen(app), '127.0.0.1');
  const body = '{"wait":true}';
  const head = `POST ${addressOf('a')} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;
  socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
  await until(() => engine.merges.size === 1);
  socket.destroy();
  await new Promise((resolve) => socket.once('close', resolve));
  merged(keyOf({ digest }));
  assert.equal((await list()).data[0]?.state, 'merged');
});

test('the same merge from many callers at once is one merge', async (t) => {
  const { registry, engine, merge, list } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const answers = await Promise.all([...Array(8)].map((_, i) => merge(i % 2 === 0 ? 'a' : 'a@1')));
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([202]));
  assert.equal(new Set(answers.map((answer) => answer.json().id)).size, 1);
  assert.deepEqual(engine.mergesAsked, [keyOf({ digest })]);
  assert.deepEqual([registry.held, (await list()).data.length], [1, 1]);
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
  const { registry, engine, merge, unmerge, say, merged, list } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const key = keyOf({ digest });
  const waiting = merge('a', { wait: true, bits: 32 });
  await until(() => registry.held === 1);
  say(key, { state: 'failed', code: 'merge_budget_exceeded', message: 'It needs 2000 bytes; 600 are left.' });
  const refused = await waiting;
  assert.equal(refused.statusCode, 409);
  assert.deepEqual(codeOf(refused), 'merge_budget_exceeded');
  assert.match(refused.json().error.message, /2000 bytes/);
  assert.equal(registry.held, 0, 'what failed holds no files');
  const [failed] = (await list()).data;
  assert.deepEqual([failed?.state, failed?.error?.code], ['failed', 'merge_budget_exceeded']);

  const again = await merge('a', { bits: 4 });
  assert.deepEqual([again.statusCode, again.json().state, again.json().bits], [202, 'merging', 4]);
  assert.equal(engine.merges.get(key)?.bits, 4);
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

test('an engine that never was ready takes no merge; one that restarts takes it later', async (t) => {
  const { registry, engine, merge, merged, say, list } = await mergeApp(t);
  const { digest } = await registry.add('a');
  const key = keyOf({ digest });
  const { info } = engine;
  Object.assign(engine, { info: null, state: 'starting' });
  const early = await merge('a');
  assert.deepEqual([early.statusCode, codeOf(early)], [503, 'engine_unavailable']);
  engine.state = 'draining';
  assert.equal(codeOf(await merge('a')), 'server_draining');
  Object.assign(engine, { info, state: 'ready' });
  engine.crash();
  assert.equal((await merge('a')).statusCode, 202);
  engine.recover();
  merged(key);
  assert.equal((await list()).data[0]?.state, 'merged');
  engine.crash();
  assert.equal((await list()).data[0]?.state, 'merging', 'the next engine makes it again');
  engine.recover();
  assert.equal((await list()).data[0]?.state, 'merging');
  say(key, { state: 'merging', progress: 0.1 });
  merged(key);
  assert.equal((await list()).data[0]?.state, 'merged');
});

test('what is unmerged drains; asked for meanwhile, it comes back after that', async (t) => {
  const { registry, engine, merge, unmerge, merged, say, list } = await mergeApp(t, {
    deps: { limits: { ...limits, deletionWaitMs: 20 } },
  });
  const { digest } = await registry.add('a');
  const key = keyOf({ digest });
  await merge('a');
  merged(key);
  engine.unmergesAtOnce = false;
  const left = await unmerge('a');
  assert.deepEqual([left.statusCode, left.json().state, registry.held], [202, 'draining', 0], left.body);
  const [draining] = (await list()).data;
  assert.deepEqual([draining?.state, (await list()).used_bytes], ['draining', 400]);
  assert.equal((await unmerge('a')).statusCode, 202, 'the same again');

  assert.equal((await merge('a')).json().state, 'merging');
  assert.deepEqual(engine.mergesAsked, [key], 'not while it drains');
  merged(key);
  assert.equal((await list()).data[0]?.state, 'merging', 'what an engine says of the merge before means nothing');
  say(key, { state: 'unmerged' });
  assert.deepEqual(engine.mergesAsked, [key, key]);
  merged(key);
  assert.deepEqual([(await list()).data.length, (await list()).data[0]?.state], [1, 'merged']);
});

test('a version that is deleted is unmerged, and no merge keeps it', async (t) => {
  const { app, registry, engine, merge, merged, list } = await mergeApp(t);
  const { digest } = await registry.add('a', { content: '1' });
  await registry.add('a', { content: '2' });
  const b = await registry.add('b');
  await merge('a@1');
  merged(keyOf({ digest }));
  await merge('b', { adapters: [{ id: 'a@1' }, { id: 'b' }] });
  await merge('b');
  // The engine does not answer at all.
  engine.unmergesAtOnce = false;
  const deleted = await app.inject({ method: 'DELETE', url: '/v1/adapters/a/versions/1' });
  assert.deepEqual([deleted.statusCode, deleted.json().deleted], [200, true]);
  assert.deepEqual([...engine.merges.keys()], [keyOf(b)]);
  assert.equal(registry.held, 1);
  assert.deepEqual(
    (await list()).data.map(({ state }) => state),
    ['draining', 'draining', 'merging'],
  );
  assert.equal(codeOf(await merge('a@1')), 'adapter_not_found');
});

test('a deletion in the middle of the order for a merge ends it', async (t) => {
  const { app, registry, engine, merge } = await mergeApp(t);
  await registry.add('a');
  const [asked, deleted] = await Promise.all([
    merge('a', { wait: true }),
    app.inject({ method: 'DELETE', url: '/v1/adapters/a' }),
  ]);
  assert.equal(deleted.json().deleted, true);
  assert.ok(['adapter_deleting', 'adapter_not_found', 'merge_not_found'].includes(codeOf(asked)), asked.body);
  assert.deepEqual([registry.held, engine.merges.size], [0, 0]);
});

test('a tenant sees and takes back its own merges; the same content is merged once', async (t) => {
  const { app, registry, engine, keys, post, merged, list } = await mergeApp(t);
  const auth = async (tenant: string, scopes: ('admin' | 'adapters')[]) => {
    const { key } = await keys.create({ tenant, name: '', scopes });
    return { authorization: `Bearer ${key}` };
  };
  const [one, two, no] = [await auth('one', ['admin']), await auth('two', ['admin']), await auth('one', ['adapters'])];
  const { digest } = await registry.add('a', { tenant: 'one', content: 'same' });
  await registry.add('b', { tenant: 'two', content: 'same' });
  assert.equal((await post(addressOf('a'), {}, no)).statusCode, 403);
  assert.equal((await app.inject({ url: '/v1/admin/merges', headers: no })).statusCode, 403);
  const foreign = await post(addressOf('a'), {}, two);
  assert.deepEqual([foreign.statusCode, codeOf(foreign)], [404, 'adapter_not_found']);

  const asked = await post(addressOf('a'), {}, one);
  assert.match(asked.json().created_by, /^[0-9a-f]{12}$/);
  assert.equal((await post(addressOf('b'), {}, two)).statusCode, 202);
  assert.deepEqual(engine.mergesAsked, [keyOf({ digest })]);
  merged(keyOf({ digest }));
  const names = async (headers: object) => (await list(headers)).data.map(({ adapters: [first] }) => first?.id);
  assert.deepEqual([await names(one), await names(two)], [['a@1'], ['b@1']]);

  const drop = (id: string, headers: object) =>
    app.inject({ method: 'DELETE', url: addressOf(id), headers: { ...headers } });
  assert.equal((await drop('a', one)).json().state, 'unmerged');
  assert.deepEqual([await names(one), await names(two), engine.merges.size], [[], ['b@1'], 1]);
  assert.equal((await drop('b', two)).json().state, 'unmerged');
  assert.deepEqual([engine.merges.size, registry.held], [0, 0]);
});

test('merges survive the server: what was wanted is asked for again, what failed is told, what is gone is dropped', async (t) => {
  const database = await openDatabase(':memory:');
  const options = { database, registry: { database, folder: temporaryFolder(t) } };
  const first = await mergeApp(t, options);
  const [a, b] = [await first.registry.add('a'), await first.registry.add('b')];
  await first.registry.add('damaged');
  await first.registry.add('gone');
  for (const name of ['a', 'b', 'damaged', 'gone']) await first.merge(name, { bits: 8 });
  first.merged(keyOf(a));
  first.say(keyOf(b), { state: 'failed', code: 'merge_budget_exceeded', message: 'Too much.' });
  await first.merges.close();
  // Behind the server's back: bytes that change, and a row that goes.
  const { files, release } = await first.registry.lease('default', 'damaged');
  writeFileSync(files.weights, 'damagee');
  release();
  await database.deleteFrom('adapters').where('name', '=', 'gone').execute();

  const second = await mergeApp(t, options);
  await until(() => second.merges.list().filter(({ state }) => state === 'failed').length === 2);
  const seen = new Map((await second.list()).data.map((merge) => [merge.adapters[0]?.id, merge]));
  assert.deepEqual([...seen.keys()].sort(), ['a@1', 'b@1', 'damaged@1']);
  assert.deepEqual(second.engine.mergesAsked, [keyOf(a)]);
  const restored = seen.get('a@1');
  assert.deepEqual([restored?.state, restored?.bytes, restored?.seconds], ['merging', 400, 1.5]);
  assert.equal(restored?.quality?.mean_kl, 0.01, 'of the last time');
  assert.deepEqual([seen.get('b@1')?.state, seen.get('damaged@1')?.state], ['failed', 'failed']);
  assert.equal(seen.get('damaged@1')?.error?.code, 'adapter_corrupt');
  second.merged(keyOf(a));
  assert.equal((await second.merge('a')).statusCode, 200);
  await second.merges.close();
  const rows = await database.selectFrom('merges').select('state').orderBy('created_at').execute();
  assert.deepEqual(
    rows.map(({ state }) => state),
    ['wanted', 'failed', 'wanted'],
  );
  t.after(() => database.destroy());
});

test('an engine that finds the content damaged has its adapter marked', async (t) => {
  const { registry, merge, say, list } = await mergeApp(t);
  const { digest } = await registry.add('a');
  await merge('a');
  say(keyOf({ digest }), { state: 'failed', code: 'adapter_corrupt', message: 'Not its digest.' });
  assert.deepEqual(registry.corrupt, [digest]);
  assert.equal((await list()).data[0]?.state, 'failed');
  assert.equal(codeOf(await merge('a')), 'adapter_corrupt');
});

test('a tenant has so many merges and no more', async (t) => {
  const { registry, merge } = await mergeApp(t, { deps: { limits: { ...limits, merges: 2 } } });
  for (const name of ['a', 'b', 'c']) await registry.add(name);
  assert.deepEqual([(await merge('a')).statusCode, (await merge('b')).statusCode], [202, 202]);
  const refused = await merge('c');
  assert.deepEqual([refused.statusCode, codeOf(refused)], [409, 'merge_budget_exceeded']);
});

test('metrics: merges by state, their memory, and what ran on them', async (t) => {
  const testing: TestApp & Awaited<ReturnType<typeof mergeApp>> = await mergeApp(t);
  const { app, registry, post, merge, merged } = testing;
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
