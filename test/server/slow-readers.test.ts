import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { connect } from 'node:net';
import test from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { limits } from '../../src/core/limits.ts';
import { listen, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

const quick = { ...limits, readPeriodMs: 100 };

test('who reads nothing of a stream is cut off, also after the last token, and holds nothing any more', async (t) => {
  const script = () => Buffer.from('a long line of text '.repeat(20));
  const { app, engine, log } = await testApp(t, { script, maxContext: 1_000_000, deps: { limits: quick } });
  const port = await listen(app);
  const body = JSON.stringify({ prompt: 'x', max_tokens: 500_000, ignore_eos: true, stream: true, logprobs: 20 });
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  const head = `host: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
  socket.write(`POST /v1/generate HTTP/1.1\r\n${head}\r\n\r\n${body}`);
  await until(() => engine.submitted.length === 1);
  await until(() => engine.ended.length === 1);
  assert.equal(engine.ended[0], 'abort');
  await until(() => log.some(({ msg }) => /too slow/.test(String(msg))));
  assert.equal(await new Promise((resolve) => app.server.getConnections((_, count) => resolve(count))), 0);
});

test('who reads slowly, but reads, is not', async (t) => {
  const { app, registry, log } = await testApp(t, {
    deps: { limits: { ...limits, readPeriodMs: 1000, readPeriodBytes: 1 } },
  });
  await registry.add('big', { content: 'x'.repeat(12 * 2 ** 20) });
  const port = await listen(app);
  const [answer] = await once(get(`http://127.0.0.1:${port}/v1/adapters/big/versions/1/content`), 'response');
  let read = 0;
  for await (const chunk of answer) {
    read += chunk.length;
    await setTimeout(10);
  }
  assert.ok(read > 12 * 2 ** 20);
  assert.deepEqual(
    log.filter(({ msg }) => /too slow/.test(String(msg))),
    [],
  );
});
