// Measures what the HTTP layer itself costs: the server's processor time for a token, with an engine that computes
// nothing. The same sequences without HTTP are measured too, and subtracted. Then autocannon measures short requests.
// Options: --rounds 5, --tokens 200, --step-ms 5 (the fake engine's pace), --save (writes bench/results).

import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { systemClock, systemTimers } from '../src/core/clock.ts';
import { limits } from '../src/core/limits.ts';
import { defaultSamplingParams } from '../src/core/sampling-params.ts';
import { openMerges } from '../src/jobs/merges/merge-keeper.ts';
import { measureTraffic } from '../src/jobs/merges/traffic.ts';
import { createMetrics } from '../src/metrics/metrics.ts';
import type { OfflineClient } from '../src/protocol/offline-process.ts';
import type { AdapterRegistry } from '../src/registry/adapter-registry.ts';
import { createApp } from '../src/server/app.ts';
import type { AppDeps } from '../src/server/deps.ts';
import { createLogger } from '../src/server/http/logger.ts';
import { openDatabase } from '../src/storage/database.ts';
import { mergeTable } from '../src/storage/merge-table.ts';
import { unsharedChanges } from '../src/storage/replicas/changes.ts';
import { noQuotas, openService } from '../src/tenants/service.ts';
import { openTenancy } from '../src/tenants/tenancy.ts';
import { byteTokenizer } from '../test/helpers/byte-tokenizer.ts';
import { type FakeEngine, fakeEngine } from '../test/helpers/fake-engine.ts';
import type { ReadOrder } from './http/readers.ts';
import { describeMachine } from './machine.ts';
import { type Spread, spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '200' },
    'step-ms': { type: 'string', default: '5' },
    save: { type: 'boolean', default: false },
  },
});
const batch = 16;
const rounds = Number(flags.rounds);
const tokens = Number(flags.tokens);
const engineOptions = { slots: batch, maxContext: 8192, script: () => Buffer.from(' the quick brown fox jumps') };

const messages = [{ role: 'user', content: 'hi' }];
const kinds: Record<string, { path: string; body: object }> = {
  'generate, streamed': { path: '/v1/generate', body: { prompt: 'hi', stream: true } },
  'generate, streamed, logprobs 5': { path: '/v1/generate', body: { prompt: 'hi', stream: true, logprobs: 5 } },
  'generate, streamed, a stop string': { path: '/v1/generate', body: { prompt: 'hi', stream: true, stop: 'foxes' } },
  'generate, whole': { path: '/v1/generate', body: { prompt: 'hi' } },
  'chat, streamed': { path: '/v1/chat/completions', body: { messages, stream: true } },
  'completions, streamed': { path: '/v1/completions', body: { prompt: 'hi', stream: true } },
};

async function startServer(engine: FakeEngine) {
  const db = await openDatabase(':memory:');
  // The requests name no adapter, so the registry is never used.
  const registry = {} as AdapterRegistry;
  const logger = createLogger('warn');
  const merges = await openMerges({
    ...{ table: mergeTable(db), registry, engine, limits, budgetBytes: 0, keepsAutomatic: false, probes: () => [] },
    ...{ clock: systemClock, timers: systemTimers, log: logger },
  });
  const app = createApp({
    engine,
    tokenizer: byteTokenizer(),
    model: { name: 'SmolLM2-135M-Instruct', digest: `sha256:${'0'.repeat(64)}`, createdAt: 0 },
    grammars: { check: async () => {} },
    registry,
    merges,
    traffic: measureTraffic(systemClock, limits),
    // The requests name no adapter, so these are never used.
    offline: {} as OfflineClient,
    files: {} as AppDeps['files'],
    batches: {} as AppDeps['batches'],
    jobs: { stats: { byState: {}, trainerRestarts: 0 } } as unknown as AppDeps['jobs'],
    adapterRoot: null,
    ...(await openTenancy(db, systemClock)),
    templates: null,
    adapterResolver: false,
    corsOrigins: [],
    service: await openService({
      ...{ database: db, defaults: {}, source: noQuotas },
      ...{ clock: systemClock, timers: systemTimers, log: logger },
    }),
    requestTimeoutMs: null,
    adminKey: null,
    settings: [],
    storage: { problem: () => null },
    changes: unsharedChanges(),
    tracing: null,
    trustedProxies: [],
    hasDocs: true,
    metrics: createMetrics({ modelName: 'fake' }),
    logger,
    clock: systemClock,
    newId: () => crypto.randomUUID(),
    limits,
  });
  const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port);
  return { port, close: async () => void (await Promise.all([app.close(), db.destroy()])) };
}

/** Microseconds of processor time that `work` took, in this process and in the kernel on its behalf. */
async function cpuMicros(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

/** Runs a batch of sequences without HTTP, which measures the fake engine itself. */
function runWithoutHttp(engine: FakeEngine): Promise<unknown> {
  const params = { ...defaultSamplingParams, maxTokens: tokens };
  const run = () =>
    new Promise<void>((done) =>
      engine.submit({ promptTokens: [1], params, adapters: [] }, { onToken() {}, onEnd: () => done() }),
    );
  return Promise.all(Array.from({ length: batch }, run));
}

async function measure(work: () => Promise<unknown>): Promise<Spread> {
  await work();
  const perToken: number[] = [];
  for (let round = 0; round < rounds; round++) perToken.push((await cpuMicros(work)) / (batch * tokens));
  return spread(perToken);
}

async function costPerToken(): Promise<Record<string, Spread>> {
  const engine = fakeEngine({ ...engineOptions, stepMs: Number(flags['step-ms']) });
  const server = await startServer(engine);
  const readers = fork(fileURLToPath(new URL('./http/readers.ts', import.meta.url)));
  const results: Record<string, Spread> = { 'the fake engine alone': await measure(() => runWithoutHttp(engine)) };
  for (const [kind, { path, body }] of Object.entries(kinds)) {
    const text = JSON.stringify({ ...body, max_tokens: tokens, ignore_eos: true });
    const order: ReadOrder = { port: server.port, path, body: text, readers: batch };
    results[kind] = await measure(async () => {
      readers.send(order);
      await once(readers, 'message');
    });
  }
  readers.kill();
  await server.close();
  return results;
}

type Load = { requests: { average: number }; latency: { p50: number; p99: number }; non2xx: number };

async function requestsPerSecond(): Promise<Record<string, Load>> {
  const server = await startServer(fakeEngine({ ...engineOptions, stepMs: 0 }));
  const cannon = fileURLToPath(import.meta.resolve('autocannon'));
  const fire = async (path: string, body?: object): Promise<Load> => {
    const post = ['-m', 'POST', '-H', 'content-type=application/json', '-b', JSON.stringify(body)];
    const load = ['-j', '-c', String(batch), '-d', '3', ...(body === undefined ? [] : post)];
    const { stdout } = await promisify(execFile)(process.execPath, [
      cannon,
      ...load,
      `http://127.0.0.1:${server.port}${path}`,
    ]);
    return JSON.parse(stdout) as Load;
  };
  const results = {
    'GET /livez': await fire('/livez'),
    'generate, 1 token': await fire('/v1/generate', { prompt: 'hi', max_tokens: 1 }),
    'chat, 1 token, streamed': await fire('/v1/chat/completions', { messages, max_tokens: 1, stream: true }),
  };
  await server.close();
  return results;
}

const cost = await costPerToken();
const engineAlone = cost['the fake engine alone']!.median;
console.log(`processor time of the server, microseconds a token; ${batch} at once, ${tokens} tokens, ${rounds} rounds`);
for (const [kind, { median, min, max }] of Object.entries(cost)) {
  const own = median === engineAlone ? '' : `  own ${(median - engineAlone).toFixed(1)}`;
  console.log(`  ${kind.padEnd(36)}${median.toFixed(1).padStart(6)}  (${min.toFixed(1)}..${max.toFixed(1)})${own}`);
}
const load = await requestsPerSecond();
console.log(`autocannon, ${batch} connections`);
for (const [kind, { requests, latency, non2xx }] of Object.entries(load)) {
  const figures = `${requests.average.toFixed(0).padStart(7)} requests/s, p50 ${latency.p50} ms, p99 ${latency.p99} ms`;
  console.log(`  ${kind.padEnd(36)}${figures}${non2xx > 0 ? `, ${non2xx} REFUSED` : ''}`);
}
if (flags.save) {
  const date = new Date().toISOString();
  const results = Object.fromEntries(
    Object.entries(load).map(([kind, { requests, latency }]) => [
      kind,
      { requestsPerSecond: requests.average, p50Ms: latency.p50, p99Ms: latency.p99 },
    ]),
  );
  const report = { date, machine: describeMachine(), batch, tokens, rounds, microsPerToken: cost, autocannon: results };
  const path = fileURLToPath(new URL(`./results/http-${date.slice(0, 10)}.json`, import.meta.url));
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`);
}
