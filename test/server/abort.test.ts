import assert from 'node:assert/strict';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type TestContext, test } from 'node:test';
import { listen, type TestAppOptions, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

function* endless() {
  for (;;) yield 97;
}

async function leavable(t: TestContext, options: TestAppOptions, url: string, body: object) {
  const testing = await testApp(t, { script: endless, maxContext: 100_000, stepMs: 1, ...options });
  const port = await listen(testing.app);
  const ask = (): ClientRequest => {
    const asking = request({ port, host: '127.0.0.1', path: url, method: 'POST', agent: false });
    asking.setHeader('content-type', 'application/json');
    asking.on('error', () => {});
    asking.end(JSON.stringify({ max_tokens: 50_000, ...body }));
    return asking;
  };
  const left = () => testing.log.filter(({ status }) => status === 499).length;
  return { ...testing, ask, left };
}

const answerOf = (asking: ClientRequest) => new Promise<IncomingMessage>((done) => asking.once('response', done));

test('a reader who leaves a stream ends its sequence', async (t) => {
  const { ask, engine, left, app } = await leavable(t, {}, '/v1/generate', { prompt: 'x', stream: true });
  const asking = ask();
  const answer = await answerOf(asking);
  await new Promise((done) => answer.once('data', done));
  const steps = engine.stats.steps;
  asking.destroy();
  await until(() => engine.ended.length === 1);
  assert.deepEqual(engine.ended, ['abort']);
  assert.ok(engine.stats.steps - steps < 200, 'the slot is free soon');
  await until(() => left() === 1);
  const metrics = (await app.inject('/metrics')).body;
  assert.match(metrics, /lorikeet_http_requests_total\{method="POST",route="\/v1\/generate",status="499"\} 1/);
  assert.match(metrics, /lorikeet_sequences_finished_total\{finished_reason="abort"\} 1/);
});

test('a reader who leaves before a whole answer ends its sequences, all choices of them', async (t) => {
  const { ask, engine, left } = await leavable(t, {}, '/v1/completions', { prompt: ['x', 'y'], n: 2 });
  const asking = ask();
  await until(() => engine.stats.running === 4);
  asking.destroy();
  await until(() => engine.ended.length === 4 && left() === 1);
  assert.deepEqual(new Set(engine.ended), new Set(['abort']));
});

test('a reader who leaves the queue never gets a slot', async (t) => {
  const { ask, engine, left, log } = await leavable(t, { slots: 1 }, '/v1/generate', { prompt: 'x', stream: true });
  const first = ask();
  await until(() => engine.stats.running === 1);
  const second = ask();
  await until(() => engine.stats.waiting === 1);
  second.destroy();
  await until(() => engine.stats.waiting === 0);
  assert.deepEqual([engine.stats.running, ...engine.ended], [1, 'abort']);
  first.destroy();
  await until(() => left() === 2);
  await new Promise(setImmediate);
  assert.ok(!log.some(({ msg }) => msg === 'internal error'));
});

test('a reader who does not read is cut off, and no memory grows for it', async (t) => {
  const { limits } = await import('../../src/core/limits.ts');
  const deps = { limits: { ...limits, streamEvents: 64 } };
  const options = { deps, stepMs: 0, maxContext: 1_000_000 };
  const body = { messages: [{ role: 'user', content: 'x' }], stream: true, max_tokens: 900_000 };
  const { ask, engine, log, left } = await leavable(t, options, '/v1/chat/completions', body);
  const answer = await answerOf(ask());
  answer.pause();
  await until(() => engine.ended.length === 1);
  assert.deepEqual(engine.ended, ['abort']);
  await until(() => left() === 1);
  assert.ok(log.some(({ msg }) => String(msg).includes('too slow')));
});
