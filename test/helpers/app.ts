// An app on fakes, made for one test and closed after it.

import type { TestContext } from 'node:test';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { type Clock, systemClock, systemTimers } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import { GrammarChecker } from '../../src/grammar/grammar-checker.ts';
import { openMerges } from '../../src/jobs/merges/merge-keeper.ts';
import type { Merges } from '../../src/jobs/merges/merges.ts';
import { measureTraffic, type Traffic } from '../../src/jobs/merges/traffic.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import type { RegistryOptions } from '../../src/registry/options.ts';
import { createApp } from '../../src/server/app.ts';
import type { AppDeps } from '../../src/server/deps.ts';
import { createLogger } from '../../src/server/http/logger.ts';
import { mergeProbes } from '../../src/server/merges/merge-probes.ts';
import type { Database } from '../../src/storage/database.ts';
import { mergeTable } from '../../src/storage/merge-table.ts';
import { unsharedChanges } from '../../src/storage/replicas/changes.ts';
import type { QuotaSource } from '../../src/tenants/ceilings.ts';
import type { Quota } from '../../src/tenants/quota.ts';
import { noQuotas, openService, type Service } from '../../src/tenants/service.ts';
import { openTenancy, type Tenancy } from '../../src/tenants/tenancy.ts';
import { byteTokenizer } from './byte-tokenizer.ts';
import { type FakeEngine, type FakeEngineOptions, fakeEngine } from './fake-engine.ts';
import { fakeOffline } from './fake-offline.ts';
import type { FakeTrainerOptions } from './fake-trainer.ts';
import { newDatabase } from './test-database.ts';
import { type TestJobs, testJobs } from './test-jobs.ts';
import { type WatchedRegistry, watchedRegistry } from './watched-registry.ts';

export type TestApp = Tenancy & {
  readonly app: FastifyInstance;
  readonly engine: FakeEngine;
  readonly registry: WatchedRegistry;
  readonly merges: Merges;
  readonly traffic: Traffic;
  readonly training: TestJobs;
  /** The database of keys, tenants, the audit log and merges. */
  readonly database: Database;
  readonly service: Service;
  /** Lines of the log, parsed. */
  readonly log: Record<string, unknown>[];
  post(url: string, body: object, headers?: Record<string, string>): Promise<LightMyRequestResponse>;
};

export type TestAppOptions = FakeEngineOptions & {
  readonly deps?: Partial<AppDeps>;
  readonly trainer?: FakeTrainerOptions;
  /** The quota of every tenant. */
  readonly quota?: Quota;
  readonly quotas?: QuotaSource;
  /** Text that the model generates; the engine's `script` goes first. */
  readonly says?: string;
  /** The database of merges and usage; left out: one of the test's own, in memory. */
  readonly database?: Database;
  readonly registry?: Partial<RegistryOptions>;
  /** Whether automatic merges of the last run are kept; yes where it is left out. */
  readonly keepsAutomatic?: boolean;
  /** Called before the app is ready. */
  readonly extend?: (app: FastifyInstance) => void;
};

export async function testApp(t: TestContext, options: TestAppOptions = {}): Promise<TestApp> {
  const { says } = options;
  const engine = fakeEngine(says === undefined ? options : { script: () => Buffer.from(says), ...options });
  const clock: Clock = options.deps?.clock ?? systemClock;
  const db = await newDatabase();
  const tenancy = await openTenancy(db, clock);
  const log: Record<string, unknown>[] = [];
  const logger = createLogger('debug', { write: (line) => log.push(JSON.parse(line)) });
  const service = await openService({
    ...{ database: options.database ?? db, defaults: options.quota ?? {}, source: options.quotas ?? noQuotas },
    ...{ clock, timers: systemTimers, log: logger },
  });
  const { assertQuota, hasQuota, usage } = service;
  const registry = await watchedRegistry(t, { assertQuota, hasQuota, ...options.registry });
  const training = await testJobs(t, {
    ...{ ...options.trainer, registry },
    jobs: { engine, assertQuota, trainedSince: usage.trainedSince },
  });
  const tokenizer = byteTokenizer();
  const merges = await openMerges({
    table: mergeTable(options.database ?? db),
    ...{ registry, engine, clock, limits: { ...limits, ...options.deps?.limits }, log: logger },
    timers: systemTimers,
    budgetBytes: 1_000_000,
    probes: mergeProbes(tokenizer, 512, limits),
    keepsAutomatic: options.keepsAutomatic ?? true,
  });
  const traffic = measureTraffic(clock, limits);
  const grammars = new GrammarChecker();
  let ids = 0;
  const app = createApp({
    engine,
    tokenizer,
    model: { name: 'tiny', digest: `sha256:${'a'.repeat(64)}`, createdAt: 1_700_000_000_000 },
    grammars,
    registry,
    templates: null,
    merges,
    traffic,
    offline: fakeOffline(),
    files: training.files,
    jobs: training.jobs,
    batches: training.batches,
    adapterRoot: null,
    ...tenancy,
    adapterResolver: false,
    corsOrigins: [],
    service,
    requestTimeoutMs: null,
    adminKey: null,
    settings: [{ env: 'LORIKEET_PORT', shown: '0', origin: 'flag' }],
    storage: { problem: () => null },
    changes: unsharedChanges(),
    tracing: null,
    trustedProxies: [],
    hasDocs: true,
    metrics: createMetrics({ modelName: 'tiny', processMetrics: false }),
    logger,
    clock,
    newId: () => String(++ids),
    limits,
    ...options.deps,
  });
  t.after(async () => {
    grammars.close();
    await engine.close(0);
    await app.close();
    await merges.close();
    await service.close();
    await db.destroy();
  });
  options.extend?.(app);
  await app.ready();
  training.batches.start(app.answerLine);
  const post: TestApp['post'] = (url, payload, headers = {}) => app.inject({ method: 'POST', url, payload, headers });
  return { app, engine, registry, merges, traffic, training, ...tenancy, service, database: db, log, post };
}

/** @returns the port, for tests that need a real socket. */
export async function listen(app: FastifyInstance): Promise<number> {
  return Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port);
}

/** The `data:` payloads of a stream, parsed; `[DONE]` stays text. */
export function eventsOf(body: string): unknown[] {
  return body
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: '))
    .map((frame) => frame.slice('data: '.length))
    .map((data) => (data === '[DONE]' ? data : JSON.parse(data)));
}
