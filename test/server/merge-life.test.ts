// Merges and the lives of versions, engines, tenants and servers.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { limits } from '../../src/core/limits.ts';
import { listen } from '../helpers/app.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { until } from '../helpers/waits.ts';
import { addressOf, codeOf, keyOf, mergeApp } from './merge-app.ts';

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
  // The engine does not answer.
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

test('after a restart wanted merges are asked for again, failed ones told, those of no version dropped', async (t) => {
  const database = await newDatabase();
  const options = { database, registry: { database, folder: temporaryFolder(t) } };
  const first = await mergeApp(t, options);
  const [a, b] = [await first.registry.add('a'), await first.registry.add('b')];
  await first.registry.add('damaged');
  await first.registry.add('gone');
  for (const name of ['a', 'b', 'damaged', 'gone']) await first.merge(name, { bits: 8 });
  first.merged(keyOf(a));
  first.say(keyOf(b), { state: 'failed', code: 'merge_budget_exceeded', message: 'Too much.' });
  await first.merges.close();
  // Changes that the server does not see: altered bytes, and a deleted row.
  const { files, release } = await first.registry.lease('default', 'damaged');
  writeFileSync(files.weights, 'damagee');
  release();
  await database.deleteFrom('adapters').where('name', '=', 'gone').execute();

  const second = await mergeApp(t, options);
  await until(() => second.merges.list().filter(({ state }) => state === 'failed').length === 2);
  await until(() => second.merges.list().length === 3);
  const seen = new Map((await second.list()).data.map((merge) => [merge.adapters[0]?.id, merge]));
  assert.deepEqual([...seen.keys()].sort(), ['a@1', 'b@1', 'damaged@1']);
  assert.deepEqual(second.engine.mergesAsked, [`${keyOf(a)} in 8 bits`]);
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
  assert.equal((await list()).data[0]?.state, 'failed');
  // The version is marked corrupt beside the answer, and maybe after it.
  while ((await registry.find('default', 'a')).state !== 'corrupt') await setTimeout(1);
  assert.deepEqual(registry.corrupt, [digest]);
  assert.equal(codeOf(await merge('a')), 'adapter_corrupt');
});

test('a merge that failed goes with its version; by its own id any goes', async (t) => {
  const { app, registry, merge, unmerge, say, list } = await mergeApp(t);
  const [a, b] = [await registry.add('a'), await registry.add('b')];
  for (const name of ['a', 'b']) await merge(name);
  for (const key of [keyOf(a), keyOf(b)]) say(key, { state: 'failed', code: 'engine_failed', message: 'No.' });
  assert.equal((await app.inject({ method: 'DELETE', url: '/v1/adapters/a' })).json().deleted, true);
  const left = (await list()).data;
  assert.deepEqual(
    left.map(({ adapters: [one] }) => one?.id),
    ['b@1'],
  );
  assert.equal((await unmerge('gone', `?merge=${left[0]?.id}`)).json().state, 'unmerged');
  assert.deepEqual([(await list()).data.length, registry.held], [0, 0]);
});
