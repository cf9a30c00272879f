// Measures three servers behind HAProxy against one: throughput, the share of an adapter's requests that reach its home
// server, and how many homes move when a server is added. The engine is a fake one that takes real time, so that two
// cores suffice for all servers. Everything else is the server's own code, with a registry in memory in each.
//
//     node scripts/run.js bench/replicas.ts [--seconds 10] [--adapters 300]        needs HAProxy

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { prng } from '../src/core/prng.ts';
import { listen, testApp } from '../test/helpers/app.ts';
import { haproxy } from '../test/helpers/gateways.ts';
import { freePort } from '../test/helpers/postgres-server.ts';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    adapters: { type: 'string', default: '300' },
    serve: { type: 'string' },
  },
});
const adapters = Number(flags.adapters);
/** The servers are behind a proxy, and answer nobody without a key. */
const key = 'the-admin-key';
const nameOf = (i: number) => `adapter-${i}`;
/** The fake engine's rows, the milliseconds of its step, and tokens of an answer. */
const [slots, stepMs, tokens] = [8, 25, 8];
/** Requests a second that one engine can answer. */
const capacity = (slots * 1000) / (stepMs * tokens);

if (flags.serve === undefined) await measure();
else await serve(flags.serve);

async function serve(name: string): Promise<void> {
  const context = { after: () => {} } as unknown as TestContext;
  const { app, registry } = await testApp(context, {
    ...{ slots, stepMs, says: 'xxxxxxxxxxxxxxxx', deps: { adminKey: key } },
    extend: (app) => void app.addHook('onSend', async (_request, reply) => void reply.header('x-served-by', name)),
  });
  for (let i = 0; i < adapters; i++) await registry.add(nameOf(i));
  process.stdout.write(`${await listen(app)}\n`);
}

async function measure(): Promise<void> {
  const ends: (() => unknown)[] = [];
  const context = { after: (end: () => unknown) => void ends.unshift(end) } as unknown as TestContext;
  try {
    const children = ['a', 'b', 'c'].map(start);
    ends.push(() => children.map((child) => child.kill('SIGKILL')));
    const [a, b, c] = (await Promise.all(children.map(addressOf))) as [string, string, string];
    const away = async () => `127.0.0.1:${await freePort()}`;
    const one = await haproxy.start(context, [a, await away(), await away()]);
    const two = await haproxy.start(context, [a, b, await away()]);
    const three = await haproxy.start(context, [a, b, c]);
    for (const url of [one, two, three]) for (let i = 0; i < 3; i++) await ready(url);

    // More clients than three engines have rows.
    const alone = await load(one, { clients: 3 * slots * 2, perSecond: null });
    const together = await load(three, { clients: 3 * slots * 2, perSecond: null });
    const calm = await load(three, { clients: 3 * slots * 2, perSecond: 0.6 * 3 * capacity });
    const [before, after] = [await homes(two), await homes(three)];
    const moved = [...before].filter(([name, at]) => after.get(name) !== at).length / adapters;
    const print = (what: string, value: string) => console.log(`${what.padEnd(64)} ${value.padStart(8)}`);
    print('requests a second, one server', alone.rate.toFixed(1));
    print('requests a second, three servers', together.rate.toFixed(1));
    print('ratio', (together.rate / alone.rate).toFixed(2));
    print('at home, more requests than three servers have rows', together.atHome(after).toFixed(3));
    print('at home, at 0.6 of what three servers can do', calm.atHome(after).toFixed(3));
    print('homes that move when a third server is added', moved.toFixed(3));
    print('answers other than 200', String(alone.failed + together.failed + calm.failed));
  } finally {
    for (const end of ends) await end();
  }
}

function start(name: string): ChildProcess {
  const args = [fileURLToPath(import.meta.url), '--serve', name, '--adapters', String(adapters)];
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function addressOf(child: ChildProcess): Promise<string> {
  const [line] = (await once(child.stdout!.setEncoding('utf8'), 'data')) as [string];
  return `127.0.0.1:${line.trim()}`;
}

async function ask(url: string, name: string, signal?: AbortSignal): Promise<{ at: string; isGood: boolean }> {
  const body = JSON.stringify({ prompt: 'a', adapter_id: name, max_tokens: tokens });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  const answer = await fetch(`${url}/v1/generate`, { method: 'POST', body, headers, signal: signal ?? null });
  await answer.arrayBuffer();
  return { at: answer.headers.get('x-served-by') ?? '', isGood: answer.status === 200 };
}

async function ready(url: string): Promise<void> {
  while (
    !(await ask(url, nameOf(0))
      .then(({ isGood }) => isGood)
      .catch(() => false))
  )
    await setTimeout(100);
}

/** Finds each adapter's home, with one request after another and no other load. */
async function homes(url: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (let i = 0; i < adapters; i++) found.set(nameOf(i), (await ask(url, nameOf(i))).at);
  return found;
}

async function load(url: string, { clients, perSecond }: { clients: number; perSecond: number | null }) {
  const random = prng(7);
  const seconds = Number(flags.seconds);
  const began = performance.now();
  const until = began + seconds * 1000;
  const served: [string, string][] = [];
  let failed = 0;
  let begun = 0;
  const client = async () => {
    while (performance.now() < until) {
      // All clients together keep the pace. Without one they ask as fast as answers come.
      const due = perSecond === null ? 0 : began + (begun / perSecond) * 1000;
      begun++;
      await setTimeout(Math.max(0, due - performance.now()));
      const name = nameOf(Math.floor(random() * adapters));
      const { at, isGood } = await ask(url, name).catch(() => ({ at: '', isGood: false }));
      if (isGood) served.push([name, at]);
      else failed++;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return {
    failed,
    rate: served.length / ((performance.now() - began) / 1000),
    atHome: (known: ReadonlyMap<string, string>) =>
      served.filter(([name, at]) => known.get(name) === at).length / served.length,
  };
}
