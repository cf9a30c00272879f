// Bounds on what strangers and slow callers hold: sockets, bodies, time. Real sockets; small limits stand for large
// ones.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { Limits } from '../../src/core/limits.ts';
import { limits } from '../../src/core/limits.ts';
import { listen, testApp } from '../helpers/app.ts';
import { until } from '../helpers/waits.ts';

const quick = { ...limits, headersTimeoutMs: 200, requestTimeoutMs: 400, socketEndMs: 50 };

async function server(t: TestContext, changed: Partial<Limits> = {}) {
  // Destroyed before the app closes, which waits for connections that are being answered.
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const testing = await testApp(t, {
    deps: { limits: { ...quick, ...changed } },
    stepMs: 0,
    maxContext: 50_000,
    script: () => Buffer.from('x'),
  });
  const port = await listen(testing.app);
  /** Opens a socket that never closes by itself, like a peer that is gone. */
  const open = (): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => resolve(socket));
      // A connection that is refused at once may never have been established.
      socket.on('error', () => resolve(socket));
      sockets.push(socket);
    });
  const connections = () =>
    new Promise<number>((resolve, reject) =>
      testing.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
    );
  return { ...testing, port, open, connections };
}

async function emptied(connections: () => Promise<number>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if ((await connections()) === 0) return;
    await wait(20);
  }
  assert.fail(`${await connections()} connections are left`);
}

const statusOf = async (port: number) => (await fetch(`http://127.0.0.1:${port}/livez`)).status;

test('silent and half-open connections are closed: no descriptor stays', async (t) => {
  const { open, connections, port } = await server(t);
  const beginnings = ['', 'GET / HTT', 'POST /v1/generate HTTP/1.1\r\nhost: x\r\n', `${post(1000)}{"prompt":`];
  let most = 0;
  for (let i = 0; i < 100; i++) {
    (await open()).write(beginnings[i % 4]!);
    most = Math.max(most, await connections());
  }
  // On a busy machine the first are closed before the last are opened.
  assert.ok(most >= 10, `${most}`);
  await emptied(connections);
  assert.equal(await statusOf(port), 200);
});

const post = (bytes: number) =>
  `POST /v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`;

test('connections of one address have a bound', async (t) => {
  const { open, connections } = await server(t, { connectionsOfAddress: 10, headersTimeoutMs: 5000 });
  for (let i = 0; i < 50; i++) await open();
  await wait(50);
  assert.ok((await connections()) <= 10, `${await connections()}`);
});

test('stalled bodies hold no more memory than their bound, and others are answered', async (t) => {
  const { open, port } = await server(t, { bodyBytesInAll: 100_000, requestTimeoutMs: 3000, headersTimeoutMs: 3000 });
  const answers: string[] = [];
  for (let i = 0; i < 50; i++) {
    const socket = await open();
    socket.on('data', (data) => answers.push(String(data).slice(9, 12)));
    socket.write(`${post(20_000)}{"prompt":"${'x'.repeat(10_000)}`);
  }
  // One tenant may have half of the room, which is two bodies of 20 kB.
  await until(() => answers.length >= 48);
  assert.deepEqual(new Set(answers), new Set(['503']));
  assert.equal(await statusOf(port), 200);
});

test('a caller that breaks off in its body is no error of ours', async (t) => {
  const { open, log, port } = await server(t);
  for (let i = 0; i < 10; i++) {
    const socket = await open();
    socket.write(`${post(1000)}{"prompt":"x`);
    await wait(5);
    socket.destroy();
  }
  await until(() => log.filter(({ msg }) => msg === 'request').length >= 10);
  assert.deepEqual(
    log.filter(({ level }) => (level as number) >= 50),
    [],
  );
  assert.equal(await statusOf(port), 200);
});

test('methods that no route has are refused on every route', async (t) => {
  const { app } = await server(t);
  const { paths } = (await app.inject('/openapi.json')).json();
  for (const path of Object.keys(paths as object)) {
    for (const method of ['QUERY', 'TRACE', 'PROPFIND'] as const) {
      const answer = await app.inject({ method: method as 'GET', url: path.replaceAll(/\{[^}]+\}/g, 'x') });
      assert.ok([404, 405].includes(answer.statusCode), `${method} ${path}: ${answer.statusCode} ${answer.body}`);
    }
  }
});

test('readers that read nothing are cut off, and their sequences end', async (t) => {
  const changed = { socketIdleMs: 500, streamEvents: 1_000_000, keepAliveTimeoutMs: 500 };
  const { open, engine, connections } = await server(t, changed);
  // More data than the kernel buffers for a reader that reads nothing.
  const body = JSON.stringify({ prompt: 'x', stream: true, max_tokens: 12_000, logprobs: 20, ignore_eos: true });
  for (let i = 0; i < 8; i++) {
    const socket = await open();
    socket.pause();
    socket.write(`${post(body.length)}${body}`);
  }
  await emptied(connections);
  await until(() => engine.stats.running === 0 && engine.stats.waiting === 0);
});

test('requests of one key that are being answered have a bound; another key is answered', async (t) => {
  const testing = await testApp(t, { deps: { limits: { ...limits, requestsOfKey: 3 } }, stepMs: null });
  const keyOf = async (tenant: string) => (await testing.keys.create({ tenant, name: 'n', scopes: ['generate'] })).key;
  const [a, b] = [await keyOf('a'), await keyOf('b')];
  const port = await listen(testing.app);
  const left = new AbortController();
  const ask = (key: string) =>
    fetch(`http://127.0.0.1:${port}/v1/generate`, {
      ...{ method: 'POST', body: '{"prompt":"x"}', signal: left.signal },
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    });
  const waiting = [1, 2, 3].map(() => ask(a).catch(() => null));
  await until(() => testing.engine.stats.running + testing.engine.stats.waiting === 3);
  assert.equal((await ask(a)).status, 429);
  const headers = { authorization: `Bearer ${b}` };
  assert.equal((await fetch(`http://127.0.0.1:${port}/v1/models`, { headers })).status, 200);
  left.abort();
  await Promise.all(waiting);
  await until(() => testing.log.filter(({ status }) => status === 499).length === 3);
  assert.equal(
    (await testing.app.inject({ url: '/v1/models', headers: { authorization: `Bearer ${a}` } })).statusCode,
    200,
  );
});

test('a caller who leaves while its key is looked up keeps none of its key’s places', async (t) => {
  const testing = await testApp(t, { deps: { limits: { ...limits, requestsOfKey: 1 } } });
  const { keys, app, log } = testing;
  const { key } = await keys.create({ tenant: 'a', name: 'n', scopes: ['generate'] });
  const headers = { authorization: `Bearer ${key}` };
  const verify = keys.verify.bind(keys);
  const asked = Promise.withResolvers<void>();
  const lookedUp = Promise.withResolvers<void>();
  Object.assign(keys, {
    async verify(...given: Parameters<typeof verify>) {
      asked.resolve();
      await lookedUp.promise;
      return await verify(...given);
    },
  });
  const left = new AbortController();
  const asking = fetch(`http://127.0.0.1:${await listen(app)}/v1/models`, { headers, signal: left.signal });
  await asked.promise;
  left.abort();
  await assert.rejects(asking);
  await until(() => log.some(({ status }) => status === 499));
  lookedUp.resolve();
  assert.equal((await app.inject({ url: '/v1/models', headers })).statusCode, 200);
});

test('a body in crumbs is cut off, whether its request is refused or answered; one in lines is not', async (t) => {
  const { open, app, keys } = await server(t, { chunksMin: 100, chunkBytes: 16 });
  const { key } = await keys.create({ tenant: 'a', name: 'a', scopes: ['generate'] });
  const head = (url: string, more: string) =>
    `POST ${url} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${more}\r\n` +
    'content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n';
  for (const start of [head('/v1/generate', key), head('/v1/generate', 'wrong'), head('/nowhere', key)]) {
    const socket = await open();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume().write(start + '1\r\n \r\n'.repeat(5000));
    socket.end();
    await closed;
  }
  const socket = await open();
  let said = '';
  socket.on('data', (bytes) => {
    said += bytes;
  });
  const line = `${' '.repeat(16)}`;
  const body = '{"prompt":"x","max_tokens":1}';
  socket.write(
    `${head('/v1/generate', key)}${`10\r\n${line}\r\n`.repeat(500)}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  );
  await until(() => said.includes('"text"'));
  assert.match(said, /^HTTP\/1.1 200/);
  assert.ok(app.server.listening);
});
