import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import { eventsOf, listen, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

const url = '/v1/generate';

test('a failure after the first token is an error event, and no [DONE] follows', async (t) => {
  const { engine, post, log, app } = await testApp(t, { stepMs: null });
  const answer = post(url, { prompt: 'x', stream: true });
  await until(() => engine.stats.waiting === 1);
  engine.step();
  await until(() => engine.stats.running === 1);
  // The first event opens the stream in a turn of its own.
  await new Promise(setImmediate);
  engine.crash();
  const { statusCode, body } = await answer;
  assert.equal(statusCode, 200);
  const events = eventsOf(body);
  assert.equal(events.length, 2);
  assert.deepEqual(events[1], {
    error: {
      message: 'The engine stopped while it worked on this request.',
      type: 'overloaded_error',
      param: null,
      code: 'engine_failed',
    },
  });
  assert.ok(log.some(({ msg, code }) => msg === 'stream failed' && code === 'engine_failed'));
  assert.match((await app.inject('/metrics')).body, /lorikeet_request_errors_total\{code="engine_failed"\} 1/);
});

test('a failure before the first token is an ordinary error, which clients retry', async (t) => {
  const { engine, post } = await testApp(t, { stepMs: null, slots: 1 });
  const answer = post(url, { prompt: 'x', stream: true });
  await until(() => engine.stats.waiting === 1);
  await engine.close(0);
  const { statusCode, headers, body } = await answer;
  assert.equal(statusCode, 503);
  assert.ok(headers['retry-after']);
  assert.equal(JSON.parse(body).error.code, 'server_draining');
});

test('a refusal for the second choice aborts the first', async (t) => {
  const { engine, post } = await testApp(t, { waitingMax: 1, stepMs: null });
  const answer = await post('/v1/completions', { prompt: 'x', n: 2 });
  assert.equal(answer.json().error.code, 'server_overloaded');
  engine.step();
  assert.deepEqual(engine.ended, ['abort']);
});

test('a sequence that waits when the engine dies is answered when it is back', async (t) => {
  const { engine, post } = await testApp(t, { stepMs: 1, slots: 1, says: 'ok' });
  engine.crash();
  const answer = post(url, { prompt: 'x', stream: true });
  await until(() => engine.stats.waiting === 1);
  engine.recover();
  assert.equal((eventsOf((await answer).body).at(-2) as { text: string }).text, 'ok');
});

test('a silent stream says so by comments, which clients skip', async (t) => {
  const deps = { limits: { ...limits, heartbeatMs: 5 } };
  const { engine, post } = await testApp(t, { stepMs: null, says: 'a', deps });
  const answer = post(url, { prompt: 'x', stream: true });
  await until(() => engine.stats.waiting === 1);
  await new Promise((done) => setTimeout(done, 30));
  engine.step();
  engine.step();
  const { body } = await answer;
  assert.ok(body.startsWith(': waiting\n\n'));
  assert.deepEqual(eventsOf(body).length, 3);
});

test('a stream reaches a real reader token by token', async (t) => {
  const { app, engine } = await testApp(t, { stepMs: null, says: 'ab' });
  const port = await listen(app);
  const asking = fetch(`http://127.0.0.1:${port}${url}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'x', stream: true }),
  });
  await until(() => engine.stats.waiting === 1);
  engine.step();
  const reader = (await asking).body!.getReader();
  const read = async () => new TextDecoder().decode((await reader.read()).value);
  assert.match(await read(), /"text":"a"/);
  engine.step();
  assert.match(await read(), /"text":"b"/);
  engine.step();
  assert.match(await read(), /"text":"ab"/);
});
