import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsOf, testApp } from '../helpers/app.ts';

test('a sane request id of the caller comes back; another is replaced', async (t) => {
  const { app } = await testApp(t);
  const idFor = async (id: string) =>
    (await app.inject({ url: '/livez', headers: { 'x-request-id': id } })).headers['x-request-id'];
  assert.equal(await idFor('3f2c-trace.1'), '3f2c-trace.1');
  assert.match(String(await idFor('a b\u00e9')), /^req-/);
  assert.match(String(await idFor('x'.repeat(129))), /^req-/);
  assert.match(String(await idFor('')), /^req-/);
});

test('the log has one line a request, with its id, and never what was said', async (t) => {
  const { post, log } = await testApp(t, { says: 'a secret answer' });
  const secret = 'a secret question';
  await post('/v1/generate?q=secret', { prompt: secret }, { 'x-request-id': 'id-1' });
  await post('/v1/chat/completions', { messages: [{ role: 'user', content: secret }], stream: true });
  await post('/v1/generate', { prompt: secret, temperature: secret });
  const lines = log.filter(({ msg }) => msg === 'request');
  assert.equal(lines.length, 3);
  const { ms, time, ...line } = lines[0]!;
  assert.ok(typeof ms === 'number' && typeof time === 'number');
  assert.deepEqual(line, {
    level: 30,
    reqId: 'id-1',
    method: 'POST',
    path: '/v1/generate',
    status: 200,
    tenant: 'default',
    ip: '127.0.0.1',
    keyPrefix: null,
    msg: 'request',
  });
  assert.doesNotMatch(JSON.stringify(log), /secret/);
});

test('probes are logged at debug only, unless they fail', async (t) => {
  const { app, engine, log } = await testApp(t);
  await app.inject('/livez');
  engine.state = 'starting';
  await app.inject('/readyz');
  assert.deepEqual(
    log.filter(({ msg }) => msg === 'request').map(({ level }) => level),
    [20, 30],
  );
});

test('an unexpected error is in the log with its stack, and not in the answer', async (t) => {
  const { engine, post, log } = await testApp(t);
  engine.refusal = new Error('the reason');
  const { body } = await post('/v1/generate', { prompt: 'x', stream: true });
  assert.equal(eventsOf(body).length, 0);
  assert.doesNotMatch(body, /the reason/);
  const line = log.find(({ msg }) => msg === 'internal error') as { err: { stack: string } };
  assert.match(line.err.stack, /the reason/);
});
