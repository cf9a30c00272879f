// The gateway's recipe: each adapter has a home among the servers that are ready, however it is named.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { gatewayTo, withoutHaproxy } from '../helpers/haproxy.ts';

/** What a server looks like from outside. */
async function upstream(t: TestContext, name: string) {
  const state = { isReady: true, status: 200 };
  const server = createServer((request, response) => {
    if (request.url === '/readyz') {
      response.writeHead(state.isReady ? 200 : 503).end();
      return;
    }
    request.resume().once('end', () => response.writeHead(state.status).end(name));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { name, state, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test("an adapter's requests go to its home while that is ready", { skip: withoutHaproxy }, async (t) => {
  const servers = [await upstream(t, 'a'), await upstream(t, 'b'), await upstream(t, 'c')] as const;
  const [a, b, c] = servers;
  const gateway = await gatewayTo(t, [a.address, b.address, c.address]);
  const ask = async (body: object, headers: Record<string, string> = {}): Promise<string> => {
    const request = { method: 'POST', body: JSON.stringify(body), headers };
    const answer = await fetch(`${gateway}/v1/generate`, request).catch(() => null);
    return answer === null ? 'nobody' : answer.ok ? await answer.text() : String(answer.status);
  };
  while ((await ask({ model: 'x' })) === 'nobody') await setTimeout(20);
  // Until HAProxy has looked at all of them once.
  const names = Array.from({ length: 60 }, (_, i) => `adapter-${i}`);
  const homes = async () => new Map(await Promise.all(names.map(async (name) => [name, await home(name)] as const)));
  const home = async (name: string) => await ask({ model: name });
  const oneByOne = async () => {
    const found = new Map<string, string>();
    for (const name of names) found.set(name, await home(name));
    return found;
  };
  const first = await oneByOne();
  for (const { name } of servers) assert.ok([...first.values()].filter((one) => one === name).length >= 8, name);
  assert.deepEqual(await oneByOne(), first);
  for (const [name, at] of [...first].slice(0, 12)) {
    const filler = 'x'.repeat(100_000);
    assert.equal(await ask({ model: `${name}:prod`, prompt: filler }), at);
    assert.equal(await ask({ adapter_id: `${name}@2` }), at);
    assert.equal(await ask({ prompt: filler }, { 'x-adapter': name }), at);
  }
  // A server that goes takes only its own adapters along, and has them again afterwards.
  b.state.isReady = false;
  while ([...(await homes()).values()].includes('b')) await setTimeout(50);
  const without = await oneByOne();
  const moved = names.filter((name) => without.get(name) !== first.get(name));
  assert.ok(moved.every((name) => first.get(name) === 'b'));
  b.state.isReady = true;
  while ((await home(moved[0]!)) !== 'b') await setTimeout(50);
  assert.deepEqual(await oneByOne(), first);
  // One that refuses is asked nothing twice that another one answers.
  b.state.status = 503;
  assert.notEqual(await home(moved[0]!), '503');
  for (const { state } of servers) state.isReady = false;
  while ((await home('x')) !== '503') await setTimeout(50);
});
