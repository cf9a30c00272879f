// The gateway's recipe: the one server that is ready gets every request, and another one after it.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createListener } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const recipe = fileURLToPath(new URL('../../ops/haproxy.cfg', import.meta.url));
const withoutHaproxy = spawnSync('haproxy', ['-v']).status === 0 ? false : 'needs HAProxy: apt-get install haproxy';

/** What a server looks like from outside. */
async function upstream(t: TestContext, name: string) {
  const state = { isReady: false, asked: 0 };
  const server = createServer((request, response) => {
    if (request.url === '/readyz') {
      response.writeHead(state.isReady ? 200 : 503).end();
      return;
    }
    state.asked++;
    request.resume().once('end', () => response.end(name));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { state, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function freeAddress(): Promise<string> {
  const listener = createListener();
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  await new Promise((resolve) => listener.close(resolve));
  return `127.0.0.1:${port}`;
}

test('requests go to the server that is ready, and to the next one after it', { skip: withoutHaproxy }, async (t) => {
  const [a, b, gateway] = [await upstream(t, 'a'), await upstream(t, 'b'), await freeAddress()];
  const env = {
    ...process.env,
    LORIKEET_GATEWAY: gateway,
    LORIKEET_SERVER_A: a.address,
    LORIKEET_SERVER_B: b.address,
  };
  const check = spawnSync('haproxy', ['-c', '-f', recipe], { env });
  assert.equal(check.status, 0, check.stderr.toString());
  const haproxy = spawn('haproxy', ['-db', '-f', recipe], { env, stdio: 'ignore' });
  t.after(() => haproxy.kill('SIGKILL'));

  const ask = async (): Promise<string> => {
    const answer = await fetch(`http://${gateway}/v1/generate`, { method: 'POST', body: 'x'.repeat(100_000) }).catch(
      () => null,
    );
    return answer === null ? 'nobody' : answer.ok ? await answer.text() : String(answer.status);
  };
  const until = async (answer: string) => {
    while ((await ask()) !== answer) await setTimeout(20);
  };
  await until('503');
  a.state.isReady = true;
  await until('a');
  // Before its first look HAProxy takes every server for one that is ready.
  const early = b.state.asked;
  for (let i = 0; i < 20; i++) assert.equal(await ask(), 'a');
  assert.equal(b.state.asked, early);
  a.state.isReady = false;
  await until('503');
  b.state.isReady = true;
  await until('b');
  const before = a.state.asked;
  for (let i = 0; i < 20; i++) assert.equal(await ask(), 'b');
  assert.equal(a.state.asked, before);
});
