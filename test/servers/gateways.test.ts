// The gateways' recipes: each adapter has a home among the ready servers, in whichever way a request names it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { envoy, type Gateway, haproxy } from '../helpers/gateways.ts';
import { waitFor } from '../helpers/waits.ts';

/** A server as gateways see it. */
async function upstream(t: TestContext, name: string) {
  const state = { isReady: true, status: 200, asked: 0, gate: Promise.resolve() };
  const server = createServer((request, response) => {
    if (request.url === '/readyz') {
      response.writeHead(state.isReady ? 200 : 503).end();
      return;
    }
    request.resume().once('end', async () => {
      state.asked++;
      await state.gate;
      response.writeHead(state.status).end(name);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const die = () => {
    server.closeAllConnections();
    server.close();
  };
  t.after(die);
  return { name, state, die, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

for (const gateway of [haproxy, envoy]) {
  test(`${gateway.name}: an adapter's requests go to its home while that is ready`, { skip: gateway.missing }, (t) =>
    play(t, gateway),
  );
}

test('HAProxy: who is killed is asked no more, though who is left is busy', { skip: haproxy.missing }, async (t) => {
  const [a, b, c] = [await upstream(t, 'a'), await upstream(t, 'b'), await upstream(t, 'c')] as const;
  c.die();
  const url = await haproxy.start(t, [a.address, b.address, c.address]);
  const ask = async (i: number): Promise<string> => {
    const answer = await fetch(`${url}/v1/generate`, { method: 'POST', headers: { 'x-adapter': `${i}` } });
    return answer.ok ? await answer.text() : `${answer.status}`;
  };
  const count = 40;
  const each = () => Promise.all(Array.from({ length: count }, (_, i) => ask(i).catch(() => 'nobody')));
  await waitFor('both are asked', async () => [...new Set(await each())].sort().join() === 'a,b');
  const { promise, resolve: open } = Promise.withResolvers<void>();
  a.state.gate = promise;
  const before = a.state.asked;
  const early = each();
  // Its load is bounded, so the rest goes to the other server.
  await waitFor('one is busy', () => a.state.asked >= before + 3);
  b.die();
  const late = each();
  await waitFor(
    () => `all who come are taken: ${a.state.asked - before}`,
    () => a.state.asked - before >= count,
  );
  open();
  assert.deepEqual([...new Set(await late)], ['a']);
  await early;
});

async function play(t: TestContext, gateway: Gateway): Promise<void> {
  const servers = [await upstream(t, 'a'), await upstream(t, 'b'), await upstream(t, 'c')] as const;
  const [a, b, c] = servers;
  const url = await gateway.start(t, [a.address, b.address, c.address]);
  const ask = async (body: object, headers: Record<string, string> = {}): Promise<string> => {
    const json = { 'content-type': 'application/json', ...headers };
    const request = { method: 'POST', body: JSON.stringify(body), headers: json };
    const answer = await fetch(`${url}/v1/generate`, request).catch(() => null);
    return answer === null ? 'nobody' : answer.ok ? await answer.text() : String(answer.status);
  };
  // Waits until the gateway listens and has checked all servers once.
  for (let i = 0; i < 5; i++) await waitFor('it answers', async () => (await ask({ model: 'x' })).length === 1);
  const names = Array.from({ length: 60 }, (_, i) => `adapter-${i}`);
  const home = (name: string) => ask({ model: name });
  const homes = async (bodyOf = (name: string): object => ({ model: name }), headers?: (name: string) => object) => {
    const found = new Map<string, string>();
    for (const name of names) found.set(name, await ask(bodyOf(name), { ...headers?.(name) }));
    return found;
  };
  /** A request that comes while the one before still counts may go to another server, since the load is bounded. */
  const assertSame = (found: ReadonlyMap<string, string>, known: ReadonlyMap<string, string>, share = 0.95) => {
    const same = [...known].filter(([name, at]) => found.get(name) === at).length;
    assert.ok(same >= share * known.size, `${same} of ${known.size} at home`);
  };
  const first = await homes();
  for (const { name } of servers) assert.ok([...first.values()].filter((one) => one === name).length >= 6, name);
  assertSame(await homes(), first);
  const filler = 'x'.repeat(100_000);
  assertSame(await homes((name) => ({ model: `${name}:prod`, prompt: filler })), first);
  assertSame(await homes((name) => ({ prompt: filler, adapter_id: `${name}@2` })), first);
  const byHeader = (name: string) => ({ 'x-adapter': name });
  assertSame(await homes(() => ({ prompt: filler }), byHeader), first);
  await uploadsHaveHomes(
    url,
    servers.map(({ name }) => name),
  );
  // When a server goes, only its own adapters move, and they return with it.
  b.state.isReady = false;
  await waitFor('nothing goes to who is not ready', async () => ![...(await homes()).values()].includes('b'));
  const others = new Map([...first].filter(([, at]) => at !== 'b'));
  assertSame(await homes(), others, gateway.othersStay);
  const [gone] = [...first].find(([, at]) => at === 'b')!;
  b.state.isReady = true;
  await waitFor('it is home again', async () => (await home(gone)) === 'b');
  assertSame(await homes(), first);
  // The gateway repeats a request that one server refuses on another server.
  b.state.status = 503;
  assert.notEqual(await home(gone), '503');
  for (const { state } of servers) state.isReady = false;
  await waitFor('503 where nobody is ready', async () => (await home('x')) === '503');
}

/** All parts of an upload, and the request that publishes it, reach one server; uploads are spread over all servers. */
async function uploadsHaveHomes(url: string, names: readonly string[]): Promise<void> {
  const seen = new Set<string>();
  for (let i = 0; i < 24; i++) {
    const digest = `sha256:${createHash('sha256').update(String(i)).digest('hex')}`;
    const said = async (path: string, init: RequestInit) =>
      await (await fetch(`${url}/v1/adapters${path}`, init)).text();
    const body = Buffer.alloc(50_000, i);
    const parts = [digest, encodeURIComponent(digest), digest].map((name) =>
      said(`/uploads/${name}`, { method: 'PATCH', body, headers: { 'x-adapter': `other-${i}` } }),
    );
    const json = { 'content-type': 'application/json' };
    const publish = JSON.stringify({ name: `n${i}`, config: { r: 8 }, weights: digest });
    const homes = await Promise.all([...parts, said('', { method: 'POST', headers: json, body: publish })]);
    assert.deepEqual(homes, Array(4).fill(homes[0]), `upload ${i}`);
    seen.add(homes[0]!);
  }
  assert.deepEqual([...seen].sort(), names);
}
