// A server process with few descriptors and a small heap: strangers' connections and bodies exhaust neither.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connectionsFor } from '../../src/server/http/descriptors.ts';

const entry = fileURLToPath(new URL('../contract/serve-fakes.ts', import.meta.url));

async function limited(t: TestContext, { descriptors, heapMiB }: { descriptors: number; heapMiB: number }) {
  const node = `exec '${process.execPath}' --disable-warning=ExperimentalWarning --max-old-space-size=${heapMiB}`;
  const child: ChildProcess = spawn('sh', ['-c', `ulimit -n ${descriptors}; ${node} '${entry}'`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  const { url, key } = JSON.parse(String(line)) as { url: string; key: string };
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const open = (text: string) => {
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {});
    socket.write(text);
    sockets.push(socket);
  };
  const generates = async () => {
    const answer = await fetch(`${url}/v1/generate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: '{"prompt":"x","max_tokens":1}',
      signal: AbortSignal.timeout(20_000),
    });
    return answer.status;
  };
  /**
   * Waits until the server answers.
   * @returns the seconds that it took
   */
  const recovers = async () => {
    for (let seconds = 0; seconds < 30; seconds++) {
      if ((await generates().catch(() => 0)) === 200) return seconds;
      await wait(1000);
    }
    return assert.fail('it does not answer any more');
  };
  return { child, key, open, generates, recovers };
}

test('400 silent or half-open connections on 300 descriptors: it answers again when their time is over', async (t) => {
  const { child, open, generates, recovers } = await limited(t, { descriptors: 300, heapMiB: 512 });
  assert.equal(await generates(), 200);
  const beginnings = ['', 'GET / HT', 'POST /v1/generate HTTP/1.1\r\nhost: x\r\n'];
  for (let i = 0; i < 400; i++) open(beginnings[i % beginnings.length]!);
  const seconds = await recovers();
  assert.equal(child.exitCode, null);
  t.diagnostic(`answered after ${seconds} s`);
});

test('700 stalled bodies of 3.9 MB on a heap of 512 MB: others are answered meanwhile', async (t) => {
  const { child, key, open, generates } = await limited(t, { descriptors: 1024, heapMiB: 512 });
  const bytes = 3_900_000;
  const head = `POST /v1/generate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n`;
  const filling = 'x'.repeat(1_000_000);
  for (let i = 0; i < 700; i++) {
    open(`${head}content-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n{"prompt":"${filling}`);
  }
  for (let i = 0; i < 5; i++) assert.equal(await generates(), 200);
  assert.equal(child.exitCode, null);
});

test('connections leave descriptors for everything else', () => {
  assert.equal(connectionsFor(4096, 'Max open files            300                  300                  files'), 204);
  assert.equal(connectionsFor(4096, 'Max open files            1048576              1048576              files'), 4096);
  assert.equal(connectionsFor(4096, 'Max open files            64                   64                   files'), 16);
  assert.equal(connectionsFor(4096, ''), 4096);
});
