// Adapters of a generation: which weights reach the engine and are named in the answer, and that every lease is
// released once, however a request ends.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { LorikeetError } from '../../src/core/errors.ts';
import { eventsOf, listen, type TestApp, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

const url = '/v1/generate';
const messages = [{ role: 'user', content: 'x' }];

const letGo = async ({ registry }: TestApp, leases: number) => {
  await until(() => registry.held === 0);
  assert.deepEqual([registry.leases, registry.releases], [leases, leases]);
};

test('an adapter goes to the engine by its digest, and the answer names it', async (t) => {
  const testing = await testApp(t);
  const { name, version, digest } = await testing.registry.add('org/a');
  const answer = await testing.post(url, { prompt: 'x', adapter_id: 'org/a', adapter_scale: 0.5 });
  assert.equal(answer.headers['x-adapter-digest'], digest);
  assert.deepEqual(answer.json().adapter, { name, version, digest, merged_bits: null });
  assert.equal(answer.json().adapters, undefined);
  await until(() => testing.log.some(({ adapter }) => adapter === digest));
  const [asked] = testing.engine.submitted;
  assert.deepEqual(
    asked?.adapters.map(({ files, scale }) => [files.digest, scale]),
    [[digest, 0.5]],
  );
  await letGo(testing, 1);
});

test('the base model has no adapter, no header and no lease', async (t) => {
  const testing = await testApp(t);
  const answer = await testing.post(url, { prompt: 'x', adapters: [] });
  assert.deepEqual([answer.json().adapter, answer.headers['x-adapter-digest']], [null, undefined]);
  assert.deepEqual(testing.engine.submitted[0]?.adapters, []);
  await letGo(testing, 0);
});

test('several adapters are named with their scales; one content under two names is applied once', async (t) => {
  const testing = await testApp(t);
  const a = await testing.registry.add('a', { content: 'same' });
  const b = await testing.registry.add('b', { content: 'other' });
  await testing.registry.add('c', { content: 'same' });
  const adapters = [{ id: 'a', scale: 0.5 }, { id: 'b@1' }, { id: 'c', scale: 0.25 }];
  const answer = await testing.post(url, { prompt: 'x', adapters });
  assert.equal(answer.json().adapter, null);
  assert.deepEqual(
    answer.json().adapters.map(({ name, scale }: { name: string; scale: number }) => [name, scale]),
    [
      ['a', 0.5],
      ['b', 1],
      ['c', 0.25],
    ],
  );
  assert.equal(answer.headers['x-adapter-digest'], [a, b].map(({ digest }) => digest).join(', '));
  assert.deepEqual(
    testing.engine.submitted[0]?.adapters.map(({ files, scale }) => [files.digest, scale]),
    [
      [a.digest, 0.75],
      [b.digest, 1],
    ],
  );
  await letGo(testing, 3);
});

test("OpenAI's routes take an adapter as the model, by any of its names, and answer with that name", async (t) => {
  const testing = await testApp(t);
  await testing.registry.add('org/a', { content: '1' });
  const { digest } = await testing.registry.add('org/a', { content: '2' });
  const targets = [{ version: 2, weight: 1 }];
  await testing.registry.setAlias('default', { name: 'org/a', alias: 'prod', targets, expected: null });
  for (const model of ['org/a', 'org/a@2', 'org/a:prod']) {
    for (const [route, body] of [
      ['/v1/chat/completions', { messages }],
      ['/v1/completions', { prompt: 'x' }],
    ] as const) {
      const whole = await testing.post(route, { ...body, model });
      assert.deepEqual([whole.json().model, whole.headers['x-adapter-digest']], [model, digest]);
      const streamed = await testing.post(route, { ...body, model, stream: true });
      assert.equal(streamed.headers['x-adapter-digest'], digest);
      const models = eventsOf(streamed.body).map((event) => (event as { model?: string }).model);
      assert.deepEqual(new Set(models.slice(0, -1)), new Set([model]));
    }
  }
  await letGo(testing, 12);
});

test('a stream names its weights before its first token and in its last event', async (t) => {
  const testing = await testApp(t);
  const { name, version, digest } = await testing.registry.add('a');
  const answer = await testing.post(url, { prompt: 'x', adapter_id: 'a', stream: true });
  assert.equal(answer.headers['x-adapter-digest'], digest);
  assert.deepEqual((eventsOf(answer.body).at(-2) as { adapter: object }).adapter, {
    name,
    version,
    digest,
    merged_bits: null,
  });
  await letGo(testing, 1);
});

test('an adapter that is not there is refused by its parameter, and the others are let go', async (t) => {
  const testing = await testApp(t);
  await testing.registry.add('a');
  const cases: [object, string][] = [
    [{ adapter_id: 'none' }, 'adapter_id'],
    [{ adapter_id: 'a@2' }, 'adapter_id'],
    [{ adapter_id: 'a:prod' }, 'adapter_id'],
    [{ adapters: [{ id: 'a' }, { id: 'none' }] }, 'adapters[1].id'],
  ];
  for (const [body, param] of cases) {
    const answer = await testing.post(url, { prompt: 'x', stream: true, ...body });
    assert.deepEqual([answer.statusCode, answer.json().error.code], [404, 'adapter_not_found']);
    assert.equal(answer.json().error.param, param);
  }
  assert.equal(testing.engine.submitted.length, 0);
  await letGo(testing, 1);
});

test('leases are let go when the engine refuses, whichever sequence it refuses', async (t) => {
  const testing = await testApp(t, { waitingMax: 1, stepMs: null });
  await testing.registry.add('a');
  testing.engine.refusal = new LorikeetError('engine_unavailable');
  await testing.post(url, { prompt: 'x', adapter_id: 'a' });
  // The engine's refusal comes before any adapter is leased.
  await letGo(testing, 0);
  testing.engine.refusal = null;
  const answer = await testing.post('/v1/completions', { prompt: ['x', 'y'], model: 'a', n: 2 });
  assert.equal(answer.json().error.code, 'server_overloaded');
  assert.equal(testing.registry.held, 1, 'the first one still runs');
  testing.engine.step();
  await letGo(testing, 1);
});

test('a prompt that fails lets go of what was held', async (t) => {
  const testing = await testApp(t);
  await testing.registry.add('a');
  const long = 'x'.repeat(600);
  for (const body of [
    { prompt: long },
    { prompt: '' },
    { messages: [{ role: 'user', name: 'refused', content: 'x' }] },
  ]) {
    assert.equal((await testing.post(url, { ...body, adapter_id: 'a' })).statusCode, 400);
  }
  await letGo(testing, 3);
});

test('one lease covers all sequences of a request, until the last has ended', async (t) => {
  const testing = await testApp(t, { stepMs: null, slots: 1, says: 'ab' });
  await testing.registry.add('a');
  const answer = testing.post('/v1/completions', { prompt: ['x', 'y'], model: 'a' });
  await until(() => testing.engine.stats.waiting === 2);
  for (let i = 0; i < 3; i++) testing.engine.step();
  assert.deepEqual([testing.engine.ended.length, testing.registry.held], [1, 1]);
  for (let i = 0; i < 3; i++) testing.engine.step();
  assert.equal((await answer).statusCode, 200);
  await letGo(testing, 1);
});

test('an error of one sequence is answered at once; the lease waits for those that it aborts', async (t) => {
  const testing = await testApp(t, { stepMs: null, slots: 1 });
  const { digest } = await testing.registry.add('a');
  const answer = testing.post('/v1/completions', { prompt: 'x', n: 2, model: 'a' });
  await until(() => testing.engine.stats.waiting === 2);
  testing.engine.failure = { code: 'adapter_corrupt', message: 'Its files are altered.', digest };
  testing.engine.step();
  const { error } = (await answer).json();
  assert.deepEqual([error.code, error.param], ['adapter_corrupt', 'model']);
  assert.deepEqual(testing.registry.corrupt, [digest]);
  assert.equal(testing.registry.held, 1);
  testing.engine.step();
  await letGo(testing, 1);
  assert.deepEqual(testing.engine.ended, ['error', 'abort']);
  // The version is marked corrupt beside the answer, and maybe after it.
  while ((await testing.registry.find('default', 'a')).state !== 'corrupt') await setTimeout(1);
  const again = await testing.post(url, { prompt: 'x', adapter_id: 'a' });
  assert.deepEqual([again.statusCode, again.json().error.param], [500, 'adapter_id']);
});

test('of several adapters the damaged one is named', async (t) => {
  const testing = await testApp(t);
  await testing.registry.add('a');
  const { digest } = await testing.registry.add('b');
  testing.engine.failure = { code: 'adapter_corrupt', message: 'Its files are altered.', digest };
  const answer = await testing.post(url, { prompt: 'x', adapters: [{ id: 'a' }, { id: 'b' }] });
  assert.equal(answer.json().error.param, 'adapters[1].id');
  assert.deepEqual(testing.registry.corrupt, [digest]);
});

test('the engine dies: running and waiting requests let their adapters go, each when it ends', async (t) => {
  const testing = await testApp(t, { stepMs: null, slots: 1 });
  await testing.registry.add('a');
  const asking = [1, 2].map(() => testing.post(url, { prompt: 'x', adapter_id: 'a', stream: true }));
  await until(() => testing.engine.stats.waiting === 2);
  testing.engine.step();
  testing.engine.crash();
  assert.equal(testing.registry.held, 1);
  await testing.engine.close(0);
  await Promise.all(asking);
  await letGo(testing, 2);
});

test('a reader who leaves lets its adapters go: in a stream, in the queue, during the look-up', async (t) => {
  const testing = await testApp(t, {
    script: () => 'a'.repeat(10_000) as never,
    stepMs: 1,
    slots: 1,
    maxContext: 9000,
  });
  await testing.registry.add('a');
  const port = await listen(testing.app);
  const ask = (stream: boolean) => {
    const asking = request({ port, host: '127.0.0.1', path: url, method: 'POST', agent: false });
    asking.setHeader('content-type', 'application/json');
    asking.on('error', () => {});
    asking.end(JSON.stringify({ prompt: 'x', adapter_id: 'a', max_tokens: 8000, stream }));
    return asking;
  };
  const first = ask(true);
  await until(() => testing.engine.stats.running === 1);
  const second = ask(false);
  await until(() => testing.engine.stats.waiting === 1);
  first.destroy();
  second.destroy();
  await letGo(testing, 2);
  const { lease } = testing.registry;
  const looking = Promise.withResolvers<void>();
  const found = Promise.withResolvers<void>();
  testing.registry.lease = async (...args) => {
    looking.resolve();
    await found.promise;
    return lease(...args);
  };
  const third = ask(true);
  await looking.promise;
  third.destroy();
  await until(() => testing.log.filter(({ status }) => status === 499).length === 3);
  found.resolve();
  await until(() => testing.registry.leases === 3);
  await letGo(testing, 3);
});

test('a stop string ends the sequence and lets its adapter go', async (t) => {
  const testing = await testApp(t, { says: 'one two three' });
  await testing.registry.add('a');
  const answer = await testing.post(url, { prompt: 'x', adapter_id: 'a', stop: 'two' });
  assert.deepEqual([answer.json().text, answer.json().finish_reason], ['one ', 'stop']);
  await letGo(testing, 1);
});

test('the metrics say which adapters run and wait, who asks for which, and what loading costs', async (t) => {
  const adapterStats = { resident: 2, residentBytes: 64, pagesUsed: 3, pagesTotal: 8, copiedBytes: 10, evictions: 1 };
  const testing = await testApp(t, { stepMs: null, slots: 1, says: 'a', adapterStats });
  for (const name of ['a', 'b']) await testing.registry.add(name);
  const asking = [
    testing.post(url, { prompt: 'x', adapter_id: 'a' }),
    testing.post('/v1/completions', { prompt: 'x', model: 'b@1' }),
  ];
  await until(() => testing.engine.stats.waiting === 2);
  testing.engine.load({ digest: 'sha256:x', tier: 'disk', bytes: 5, ms: 4 });
  testing.engine.step();
  const metrics = async () => (await testing.app.inject('/metrics')).body;
  const info = 'vllm:lora_requests_info{model_name="tiny",max_lora="1"';
  const busy = await metrics();
  assert.ok(busy.includes(`${info},running_lora_adapters="a",waiting_lora_adapters="b@1"} `));
  for (const line of [
    'lorikeet_adapter_requests_total{tenant="default",adapter="a"} 1',
    'lorikeet_adapter_requests_total{tenant="default",adapter="b"} 1',
    'lorikeet_adapter_load_seconds_count{tier="disk"} 1',
    'lorikeet_adapter_copied_bytes_total 10',
    'lorikeet_adapter_pages 8',
    'lorikeet_adapter_pages_used 3',
    'lorikeet_adapters_resident 2',
    'lorikeet_adapters_resident_bytes 64',
    'lorikeet_adapter_evictions_total 1',
  ]) {
    assert.ok(busy.split('\n').includes(line), line);
  }
  for (let i = 0; i < 3; i++) testing.engine.step();
  await Promise.all(asking);
  const after = (await metrics()).split('\n');
  for (const line of [
    'lorikeet_tenant_requests_total{tenant="default",adapter="a"} 1',
    'lorikeet_tenant_prompt_tokens_total{tenant="default",adapter="a"} 1',
    'lorikeet_tenant_generation_tokens_total{tenant="default",adapter="b"} 1',
  ]) {
    assert.ok(after.includes(line), line);
  }
  // Both adapters are still in memory; the one that was used last comes first.
  assert.ok((await metrics()).includes(`${info},running_lora_adapters="b@1,a",waiting_lora_adapters=""} `));
});

test('a caller may keep off a merge', async (t) => {
  const testing = await testApp(t);
  await testing.registry.add('a');
  await testing.post('/v1/admin/adapters/a/merge', {});
  const { leases } = testing.registry;
  await testing.post(url, { prompt: 'x', adapter_id: 'a', use_merge: false });
  await testing.post(url, { prompt: 'x', adapter_id: 'a' });
  assert.deepEqual(
    testing.engine.submitted.map(({ mergeKey }) => mergeKey === null),
    [true, false],
  );
  // The merge keeps a lease of its own.
  await until(() => testing.registry.releases === 2);
  assert.equal(testing.registry.leases - leases, 2);
});
