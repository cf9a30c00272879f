// Creates, opens and closes the HTTP server; opens the separate metrics listener and the exporter of traces.

import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { Config, SettingLine } from '../config.ts';
import type { ModelFiles } from '../core/base-model.ts';
import { systemClock, systemTimers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { GrammarChecker } from '../grammar/grammar-checker.ts';
import type { OpenJobs } from '../jobs/jobs.ts';
import type { Merges } from '../jobs/merges/merges.ts';
import type { Traffic } from '../jobs/merges/traffic.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { OfflineClient } from '../protocol/offline-process.ts';
import type { SupervisedEngine } from '../protocol/supervisor.ts';
import type { AdapterRegistry } from '../registry/adapter-registry.ts';
import { createApp } from '../server/app.ts';
import { portProblem, urlOf } from '../server/http/address.ts';
import type { Logger } from '../server/http/logger.ts';
import { listenForMetrics } from '../server/http/metrics-listener.ts';
import type { StorageHealth } from '../storage/health.ts';
import type { Changes } from '../storage/replicas/changes.ts';
import type { Service } from '../tenants/service.ts';
import type { Tenancy } from '../tenants/tenancy.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Tracing } from '../tracing/tracing.ts';
import type { Templates } from './templates.ts';

/** Time that connections have to close after the last answer, in milliseconds; slow readers are then cut off. */
const closeMsMax = 5000;

type App = ReturnType<typeof createApp>;

export type ServerParts = {
  readonly config: Config;
  readonly settings: readonly SettingLine[];
  readonly files: ModelFiles;
  readonly tokenizer: Tokenizer;
  readonly engine: SupervisedEngine;
  readonly registry: AdapterRegistry;
  readonly templates: Templates | null;
  readonly merges: Merges;
  readonly traffic: Traffic;
  readonly offline: OfflineClient;
  readonly training: OpenJobs;
  readonly tenancy: Tenancy;
  readonly storage: StorageHealth;
  readonly changes: Changes;
  readonly tracing: Tracing | null;
  readonly service: Service;
  readonly metrics: Metrics;
  readonly logger: Logger;
};

export function createServer({ config, files, training, tenancy, ...parts }: ServerParts): App {
  const grammars = new GrammarChecker();
  const app = createApp({
    ...parts,
    ...tenancy,
    grammars,
    files: training.files,
    jobs: training.jobs,
    batches: training.batches,
    adapterRoot: config.adapterRoot,
    adapterResolver: config.adapterResolver,
    corsOrigins: config.corsOrigins.split(/[ ,]+/).filter(Boolean),
    model: { name: files.name, digest: files.digest, createdAt: systemClock.now() },
    adminKey: config.adminKey,
    trustedProxies: config.trustedProxies?.split(',').map((one) => one.trim()) ?? [],
    hasDocs: config.docs === 'on',
    requestTimeoutMs: config.requestTimeout === null ? null : config.requestTimeout * 1000,
    clock: systemClock,
    newId: randomUUID,
    limits: { ...limits, waitingRequests: config.maxWaiting },
  });
  app.addHook('onClose', () => grammars.close());
  return app;
}

export async function listenWithMetrics(
  { metricsHost: host, metricsPort: port }: Config,
  metrics: Metrics,
  log: Logger,
) {
  if (port === null) return null;
  const listener = await listenForMetrics(metrics, { host, port });
  log.info({ url: `${listener.url}/metrics` }, 'metrics');
  return listener;
}

/** Starts the exporter of traces; null without an endpoint, in which case the module is not even loaded. */
export async function startTracing({ otlpEndpoint: endpoint }: Config, log: Logger): Promise<Tracing | null> {
  if (endpoint === null) return null;
  const { otlpTracing } = await import('../tracing/otlp.ts');
  return otlpTracing({ endpoint, service: 'lorikeet', timers: systemTimers, log });
}

/** Throws `invalid_config` where the port is taken. Called before the model is downloaded, which may take minutes. */
export async function assertPortFree({ host, port }: Config): Promise<void> {
  const problem = await portProblem(host, port);
  if (problem === null) return;
  throw new LorikeetError('invalid_config', {
    message: `Port ${port} on ${host} cannot be listened on (${problem}). Choose another with --port, or 0.`,
    param: 'LORIKEET_PORT',
  });
}

export async function listen(app: App, { host, port }: Config): Promise<string> {
  await app.listen({ host, port });
  return urlOf(host, (app.server.address() as AddressInfo).port);
}

type Working = { readonly engine: SupervisedEngine; readonly training: OpenJobs };

/**
 * Closes the server in order. Readiness ends first; requests are still taken while load balancers notice. Then the
 * engine and the trainer finish or save their work, and then the connections close.
 */
export async function closeServer(app: App, { engine, training }: Working, config: Config): Promise<void> {
  const graceMs = config.drainSeconds * 1000;
  app.drain();
  if (engine.state === 'ready') await setTimeout(config.drainDelay * 1000);
  await Promise.all([engine.close(graceMs), training.jobs.close(Math.min(graceMs, limits.trainerPauseMs))]);
  const cancel = systemTimers.after(closeMsMax, () => app.server.closeAllConnections());
  await app.close();
  cancel();
}
