// /v1/adapters/{name}/merged and /analysis over fakes: what the process is asked for, what is answered, and that no
// lease stays held, however the work ends.

import assert from 'node:assert/strict';
import { get } from 'node:http';
import { Readable } from 'node:stream';
import test from 'node:test';
import { Value } from 'typebox/value';
import { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { Analysis } from '../../src/server/schemas/offline.ts';
import { listen, testApp } from '../helpers/app.ts';
import { fakeOffline } from '../helpers/fake-offline.ts';
import { until } from '../helpers/waits.ts';

test('an export has its length, a name, the digest; the process gets the files and what was asked', async (t) => {
  const offline = fakeOffline();
  const { app, registry } = await testApp(t, { deps: { offline } });
  const { digest } = await registry.add('org/a');
  for (const [query, type, file, dtype, unpacked = false] of [
    ['format=gguf', 'application/octet-stream', 'tiny-org-a@1.gguf', 'F16'],
    ['format=gguf&dtype=F32&unpacked=true', 'application/octet-stream', 'tiny-org-a@1.gguf', 'F32', true],
    ['format=safetensors&dtype=BF16', 'application/x-tar', 'tiny-org-a@1.tar', 'BF16'],
  ] as const) {
    const answer = await app.inject(`/v1/adapters/org%2Fa@1/merged?${query}`);
    assert.equal(answer.statusCode, 200, answer.body);
    const { headers, body } = answer;
    assert.equal(headers['content-length'], String(body.length));
    assert.equal(headers['content-disposition'], `attachment; filename="${file}"`);
    assert.deepEqual([headers['content-type'], headers['x-adapter-digest']], [type, digest]);
    const { adapter, signal, ...order } = offline.asked.at(-1)!;
    assert.equal(adapter.digest, digest);
    assert.deepEqual(order, { format: body, dtype, unpacked, name: 'tiny with org/a@1', chatTemplate: null });
  }
  assert.equal(registry.held, 0);
});

test('wrong queries, unknown names and the work’s own refusals have their codes and parameters', async (t) => {
  const refusal = new LorikeetError('unsupported_parameter', { param: 'format' });
  const busy = new LorikeetError('offline_overloaded');
  const refuse = (error: Error) => () => Promise.reject(error);
  const offline = fakeOffline({ exportMerged: refuse(refusal), analyse: refuse(busy) });
  const { app, registry, keys } = await testApp(t, { deps: { offline } });
  await registry.add('a');
  const answerTo = async (url: string, headers = {}) => {
    const answer = await app.inject({ url: `/v1/adapters/${url}`, headers });
    const { code, param } = answer.json().error;
    return [answer.statusCode, code, param, answer.headers['retry-after'] !== undefined];
  };
  assert.deepEqual(await answerTo('a/merged'), [400, 'missing_parameter', 'format', false]);
  assert.deepEqual(await answerTo('a/merged?format=onnx'), [400, 'invalid_parameter', 'format', false]);
  assert.deepEqual(await answerTo('a/merged?format=gguf&dtype=F8'), [400, 'invalid_parameter', 'dtype', false]);
  assert.deepEqual(await answerTo('b/merged?format=gguf'), [404, 'adapter_not_found', 'name', false]);
  assert.deepEqual(await answerTo('a/merged?format=gguf'), [400, 'unsupported_parameter', 'format', false]);
  assert.deepEqual(await answerTo('a/analysis?against=b'), [404, 'adapter_not_found', 'against', false]);
  assert.deepEqual(await answerTo('a/analysis?to=b'), [400, 'unknown_parameter', 'to', false]);
  assert.deepEqual(await answerTo('a/analysis'), [503, 'offline_overloaded', null, true]);
  const { key } = await keys.create({ tenant: 'other', name: 'n', scopes: ['adapters'] });
  const foreign = { authorization: `Bearer ${key}` };
  assert.deepEqual(await answerTo('a/merged?format=gguf', foreign), [404, 'adapter_not_found', 'name', false]);
  assert.deepEqual(await answerTo('a/analysis', foreign), [404, 'adapter_not_found', 'name', false]);
  assert.deepEqual(await answerTo('a/analysis'), [401, 'invalid_api_key', null, false]);
  assert.equal(registry.held, 0);
});

test('a body that breaks off, and a reader who leaves, end the answer and let the adapter go', async (t) => {
  const bodies: Readable[] = [];
  const offline = fakeOffline({
    async exportMerged() {
      const body = new Readable({ read() {} });
      body.push('beginning');
      bodies.push(body);
      return { bytes: 100, body };
    },
  });
  const { app, registry } = await testApp(t, { deps: { offline } });
  await registry.add('a');
  const port = await listen(app);
  const ask = () =>
    new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
      get({ port, path: '/v1/adapters/a/merged?format=gguf' }, resolve).on('error', reject);
    });
  const broken = await ask();
  assert.equal(broken.headers['content-length'], '100');
  bodies[0]!.destroy(new LorikeetError('offline_failed'));
  await assert.rejects(broken.toArray(), { code: 'ECONNRESET' });
  const left = await ask();
  left.on('error', () => {});
  left.destroy();
  await until(() => registry.leases === 2 && registry.held === 0);
  assert.ok(bodies.every((body) => body.destroyed));
});

test('a caller who leaves before the export begins keeps no place for offline work', async (t) => {
  const { app, registry, log } = await testApp(t, { deps: { limits: { ...limits, offlineProcesses: 1 } } });
  await registry.add('a');
  const asked = Promise.withResolvers<void>();
  const read = Promise.withResolvers<null>();
  registry.template = () => {
    asked.resolve();
    return read.promise;
  };
  const request = get({ port: await listen(app), path: '/v1/adapters/a/merged?format=gguf' });
  request.on('error', () => {});
  await asked.promise;
  request.destroy();
  await until(() => log.some(({ status }) => status === 499));
  read.resolve(null);
  assert.equal((await app.inject('/v1/adapters/a/merged?format=gguf')).statusCode, 200);
});

test('an analysis has its schema, a summary, and is computed once for each pair of contents', async (t) => {
  const offline = fakeOffline();
  const { app, registry } = await testApp(t, { deps: { offline } });
  await registry.add('a', { content: '1' });
  await registry.add('b', { content: '2' });
  await registry.add('same', { content: '1' });
  const analysis = async (url: string): Promise<Analysis> => (await app.inject(`/v1/adapters/${url}`)).json();
  const alone = await analysis('a/analysis');
  assert.ok(Value.Check(Analysis, alone as unknown));
  assert.deepEqual([alone.id, alone.against, alone.linears[0]!.singular_values], ['a@1', null, [3.12346, 1]]);
  const { similarity: none, ...summary } = alone.modules[0]!;
  const figures = { frobenius_norm: 3.25, effective_rank: 1.75, stable_rank: 1.1, amplification: 20 };
  assert.deepEqual([none, summary], [null, { module: 'q_proj', layers: 1, r: 2, ...figures }]);
  assert.deepEqual((await analysis('same/analysis')).linears, alone.linears);
  assert.equal(offline.asked.length, 1);
  const compared = await analysis('a/analysis?against=b');
  assert.ok(Value.Check(Analysis, compared as unknown));
  assert.deepEqual([compared.against!.id, compared.modules[0]!.similarity], ['b@1', { input: 1, output: 1 }]);
  await analysis('same/analysis?against=b@1');
  await analysis('b/analysis?against=a');
  assert.equal(offline.asked.length, 3);
  assert.equal(registry.held, 0);
});

test('a caller who leaves while an analysis runs ends it', async (t) => {
  const offline = fakeOffline({
    analyse: (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new LorikeetError('offline_failed')));
      }),
  });
  const { app, registry, log } = await testApp(t, { deps: { offline } });
  await registry.add('a');
  const port = await listen(app);
  const request = get({ port, path: '/v1/adapters/a/analysis' });
  request.on('error', () => {});
  await until(() => offline.asked.length === 1);
  request.destroy();
  await until(() => registry.held === 0);
  assert.ok(offline.asked[0]!.signal.aborted);
  await until(() => log.some(({ msg, status }) => msg === 'request' && status === 499));
  assert.ok(!log.some(({ level }) => Number(level) >= 50), 'a caller who leaves is no error of ours');
});
