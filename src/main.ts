// The composition root: configuration -> data dir -> storage -> model -> tokeniser -> engine -> app -> listen, and the
// reverse at the end. Everything real is made here; everything else is given what it needs.

import { randomInt, randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  type Config,
  cudaDir,
  describeSettings,
  environmentForChildren,
  type LoadedConfig,
  type SettingLine,
} from './config.ts';
import type { ModelFiles, ModelShape } from './core/base-model.ts';
import { systemClock, systemTimers } from './core/clock.ts';
import { LorikeetError } from './core/errors.ts';
import { limits } from './core/limits.ts';
import { prng } from './core/prng.ts';
import { GrammarChecker } from './grammar/grammar-checker.ts';
import { type OpenJobs, openTrainingJobs } from './jobs/jobs.ts';
import { autoMerge } from './jobs/merges/auto-merge.ts';
import { openMerges } from './jobs/merges/merge-keeper.ts';
import type { Merges } from './jobs/merges/merges.ts';
import { measureTraffic, type Traffic } from './jobs/merges/traffic.ts';
import { defaultTrainerRestart } from './jobs/policies/trainer-restart.ts';
import { trainingRoom } from './jobs/policies/training-room.ts';
import { createMetrics, type Metrics } from './metrics/metrics.ts';
import type { ModelProgress } from './models/progress.ts';
import { readGguf } from './models/read-gguf.ts';
import { type ResolveOptions, resolveModel } from './models/resolve.ts';
import { engineProcessStarter } from './protocol/engine-process.ts';
import type { EngineInfo } from './protocol/messages.ts';
import { type OfflineClient, offlineClient } from './protocol/offline-process.ts';
import { type SupervisedEngine, superviseEngine } from './protocol/supervisor.ts';
import { defaultSupervisorLimits } from './protocol/supervisor-options.ts';
import { trainerProcessStarter } from './protocol/trainer-process.ts';
import type { AdapterRegistry } from './registry/adapter-registry.ts';
import { checkAdapter } from './registry/check-adapter.ts';
import { loadExamples } from './registry/example-adapters.ts';
import { publishFolder } from './registry/publish-folder.ts';
import { openAdapterRegistry } from './registry/registry.ts';
import { mallocEnvironment } from './runtime/malloc.ts';
import { createApp } from './server/app.ts';
import { portProblem, urlOf } from './server/http/address.ts';
import { createLogger } from './server/http/logger.ts';
import { isLoopback } from './server/http/loopback.ts';
import { listenForMetrics } from './server/http/metrics-listener.ts';
import { mergeProbes } from './server/merges/merge-probes.ts';
import { lockDatabase, lockDataDir, makeDataDir } from './storage/data-dir.ts';
import type { Database } from './storage/database.ts';
import { nodeFiles } from './storage/files.ts';
import { type StorageHealth, storageHealth } from './storage/health.ts';
import { closeForGood, openOwnDatabase, readIdentity } from './storage/identity.ts';
import { databaseLocation, isPostgresUrl } from './storage/location.ts';
import { mergeTable } from './storage/merge-table.ts';
import { parseQuota } from './tenants/ceilings.ts';
import { closeOrStayOpen } from './tenants/first-key.ts';
import { writeKeyUses } from './tenants/key-uses.ts';
import { defaultTenant } from './tenants/scopes.ts';
import { openService, type Service } from './tenants/service.ts';
import { openTenancy, type Tenancy } from './tenants/tenancy.ts';
import { noUse } from './tenants/usage.ts';
import { loadTokenizer } from './tokenizer/load.ts';
import { tokenTable } from './tokenizer/token-table.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';
import type { Tracing } from './tracing/tracing.ts';

/** What the operator sees while the server starts. Drawing it is the command line's. */
export type StartReport = {
  /** A phase is over. */
  done(phase: string, detail: string, ms: number): void;
  progress(progress: ModelProgress): void;
  line(text: string): void;
  ready(url: string, isOpen: boolean, ms: number): void;
};

/** How long connections may stay open after the last answer; slow readers are cut off then. */
const closeMsMax = 5000;

/** The examples of the project, and the base model that they were trained on. */
const exampleFolder = fileURLToPath(new URL('../adapters', import.meta.url));
const exampleBase = 'SmolLM2-135M-Instruct';

type App = ReturnType<typeof createApp>;
type Logger = ReturnType<typeof createLogger>;

/**
 * Serves until `stop` is aborted. Whatever fails on the way is thrown after what was started is closed.
 * The port is open, and /livez answers, while the engine still loads; /readyz waits for it.
 */
export async function serve(loaded: LoadedConfig, report: StartReport, stop: AbortSignal) {
  const { config, unknownVariables } = loaded;
  const began = systemClock.monotonic();
  await using open = new AsyncDisposableStack();
  const phase = timedPhases(report);
  for (const name of unknownVariables) report.line(`${name} is set, but is no setting of Lorikeet.`);

  makeDataDir(config.dataDir);
  open.defer(lockDataDir(config.dataDir));
  const location = databaseLocation(config.dataDir, config.databaseUrl);
  if (!isPostgresUrl(location)) open.defer(lockDatabase(location));
  const database = await openOwnDatabase(config.dataDir, location, { newId: randomUUID, now: systemClock.now });
  open.defer(() => database.destroy());
  const tenancy = await openTenancy(database, systemClock);
  const hasKeys = await closeOrOpen(config, tenancy, report);
  await assertPortFree(config);
  phase('data', config.dataDir);

  const files = await unlessStopped(stop, findModel(config, report));
  phase('model', `${files.name} (${files.source})`);
  const tokenizer = await loadTokenizer(files, (path) => readGguf(path).metadata);
  phase('tokeniser', `${tokenizer.vocabulary} tokens`);

  const logger = createLogger(config.logLevel);
  open.defer(writeKeyUses(tenancy.keys, systemTimers, logger));
  const service = await startService(config, { database, tenancy, logger });
  open.defer(() => service.close());
  const engine = startEngine(config, { model: files, tokenizer, logger });
  open.defer(() => engine.close(0));
  const registry = await openRegistry(config, { database, files, engine, service, logger });
  open.defer(() => registry.close());
  const merges = await startMerges(config, { database, tokenizer, engine, registry, service, logger });
  open.defer(() => merges.close());
  const traffic = measureTraffic(systemClock, limits);
  const metrics = createMetrics({ modelName: files.name });
  if (config.autoMerge === 'on') open.defer(startAutoMerge(config, { merges, traffic, engine, metrics, logger }));
  const offline = startOffline(files, logger);
  open.defer(() => offline.close());
  const training = await openTraining(config, { database, files, engine, registry, service, metrics, logger });
  open.defer(() => training.jobs.close(0));
  const tracing = await startTracing(config, logger);
  open.defer(() => tracing?.close());
  const app = createServer({
    ...{ config, files, tokenizer, engine, registry, merges, traffic, offline, training, tenancy, service },
    ...{ metrics, logger, storage: storageHealth(database, config.dataDir, systemClock), tracing },
    settings: describeSettings(loaded),
  });
  open.defer(() => closeServer(app, { engine, training }, config));
  const listener = await listenWithMetrics(config, metrics, logger);
  open.defer(() => listener?.close());
  const url = await listen(app, config);
  phase('http', url);

  const info = await unlessStopped(stop, engine.ready);
  report.done('engine', describeEngine(info), info.loadMs);
  const examples = await addExamples(config, registry, logger);
  if (examples.length > 0) phase('adapters', `examples ${examples.join(', ')}`);
  const modules = await loadModules(registry, config.loraModules);
  if (modules.length > 0) phase('adapters', `loaded ${modules.join(', ')}`);
  training.start();
  const startMs = Math.round(systemClock.monotonic() - began);
  report.ready(url, !hasKeys, startMs);
  logger.info({ url, startMs, engine: info, source: files.source }, 'ready');

  await aborted(stop);
  logger.info({ drainSeconds: config.drainSeconds }, 'stopping');
}

function describeEngine({ weightBits, device, threads, weightsCached }: EngineInfo): string {
  const cached = weightsCached ? 'weights from the cache' : 'weights lowered and cached';
  return `${weightBits}-bit on ${device}, ${threads} threads, ${cached}`;
}

/** @returns the names of those that were loaded now */
async function addExamples(config: Config, registry: AdapterRegistry, logger: Logger): Promise<readonly string[]> {
  if (config.model !== exampleBase) return [];
  const marker = join(config.dataDir, 'examples');
  const examples = { folder: exampleFolder, marker, tenant: defaultTenant };
  return await loadExamples(registry, examples).catch((error) => {
    logger.warn({ err: error }, 'the example adapters could not be loaded');
    return [];
  });
}

/** `name=folder,...` as vLLM's --lora-modules: each becomes a version, unless its content is there. */
async function loadModules(registry: AdapterRegistry, list: string | null): Promise<string[]> {
  const entries = (list ?? '').split(',').filter(Boolean);
  const names: string[] = [];
  for (const entry of entries) {
    const [, name, folder] = /^\s*([^=]+)=(.+?)\s*$/.exec(entry) ?? [];
    if (name === undefined || folder === undefined) {
      const message = `LORIKEET_LORA_MODULES is a list of name=folder, not ${JSON.stringify(entry)}.`;
      throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_LORA_MODULES' });
    }
    const provenance = { tenant: defaultTenant, createdBy: null, source: 'load' } as const;
    await publishFolder(registry, folder, name, provenance);
    names.push(name);
  }
  return names;
}

/** The base model's files, fetched where this machine does not have them. */
export async function findModel(config: Config, report: StartReport): Promise<ModelFiles> {
  makeDataDir(config.dataDir);
  const files = await resolveModel(config.model, {
    ...modelSources(config),
    onProgress: (progress) => report.progress(progress),
    log: (line) => report.line(line),
  });
  return { ...files, name: config.servedModelName ?? files.name };
}

/** Where base models are looked for, and kept. */
export function modelSources(config: Config): Pick<ResolveOptions, 'cacheDir' | 'hub' | 'python'> {
  return {
    cacheDir: join(config.dataDir, 'models'),
    hub: {
      endpoint: config.hfEndpoint,
      token: config.hfToken,
      cacheDir: config.hfHubCache,
      offline: config.hfHubOffline,
    },
    ...(config.python === null ? {} : { python: config.python }),
  };
}

/** @returns whether callers need a key */
async function closeOrOpen(config: Config, { keys }: Tenancy, report: StartReport): Promise<boolean> {
  const hasKeys = await closeOrStayOpen({
    keys,
    hasAdminKey: config.adminKey !== null,
    isLoopback: isLoopback(config.host),
    wasClosed: readIdentity(config.dataDir)?.isClosed ?? false,
    announce: (key) => report.line(`The operator's key, shown this once: ${key}`),
  });
  if (hasKeys) closeForGood(config.dataDir);
  return hasKeys;
}

type EngineParts = { readonly model: ModelFiles; readonly tokenizer: Tokenizer; readonly logger: Logger };

function startEngine(config: Config, { model, tokenizer, logger }: EngineParts): SupervisedEngine {
  const { weightBits, decodeActivations, device, ortLibrary, threads, maxSequences, maxContext, prefillChunk } = config;
  const {
    devicePrecision,
    deviceKernels,
    kvType,
    prefixCacheMemory: prefixBytes,
    adapterMemory: adapterBytes,
    adapterPages,
    mergeMemory: mergeBytes,
  } = config;
  return superviseEngine({
    startProcess: engineProcessStarter(new URL('./engine/main.ts', import.meta.url), {
      ...mallocEnvironment,
      ...environmentForChildren(),
    }),
    config: {
      ...{ model, weightBits, decodeActivations, device, ortLibrary, threads, maxSequences, maxContext, prefillChunk },
      ...{ devicePrecision, deviceKernels, kvType, prefixBytes, adapterBytes, adapterPages, mergeBytes },
      sharesBasePrefixes: config.shareBasePrefixes === 'on',
      trainsBeside: config.trainingDevice === device,
      cudaDir: cudaDir(config.dataDir),
      cacheDir: join(config.dataDir, 'weights'),
      tokens: tokenTable(tokenizer),
    },
    limits: {
      ...defaultSupervisorLimits,
      waitingRequests: config.maxWaiting,
      waitingTokens: limits.waitingTokens,
    },
    clock: systemClock,
    timers: systemTimers,
    log: logger,
  });
}

type ServiceParts = { readonly database: Database; readonly tenancy: Tenancy; readonly logger: Logger };

/** Quotas are what the operator decided. */
function startService({ tenantQuota }: Config, { database, tenancy, logger: log }: ServiceParts): Promise<Service> {
  const defaults = parseQuota(tenantQuota, 'LORIKEET_TENANT_QUOTA');
  const source = { tenant: tenancy.tenants.quotaOf, key: tenancy.keys.quotaOf };
  return openService({ database, defaults, source, clock: systemClock, timers: systemTimers, log });
}

const startOffline = (model: ModelFiles, log: Logger): OfflineClient =>
  offlineClient({
    entry: new URL('./offline/main.ts', import.meta.url),
    env: { ...mallocEnvironment, ...environmentForChildren() },
    ...{ model, limits, log },
  });

type RegistryParts = {
  readonly database: Database;
  readonly files: ModelFiles;
  readonly engine: SupervisedEngine;
  readonly service: Service;
  readonly logger: Logger;
};

function shapeOf({ info }: SupervisedEngine): ModelShape {
  if (info === null) throw new LorikeetError('engine_unavailable');
  return info.shape;
}

function openRegistry(
  config: Config,
  { database, files, engine, service, logger }: RegistryParts,
): Promise<AdapterRegistry> {
  return openAdapterRegistry({
    database,
    folder: join(config.dataDir, 'adapters'),
    base: {
      ...{ name: files.name, digest: files.digest, shape: () => shapeOf(engine) },
      rankMax: () => engine.info?.adapterRank ?? limits.adapterRank,
    },
    check: checkAdapter,
    clock: systemClock,
    timers: systemTimers,
    random: prng(randomInt(2 ** 48 - 1)),
    newId: randomUUID,
    log: logger,
    limits,
    assertQuota: service.assertQuota,
    files: nodeFiles,
  });
}

type MergeParts = Omit<RegistryParts, 'files'> & Pick<ServerParts, 'tokenizer' | 'registry'>;

function startMerges(
  config: Config,
  { database, tokenizer, engine, registry, service, logger }: MergeParts,
): Promise<Merges> {
  return openMerges({
    table: mergeTable(database),
    ...{ registry, engine, limits, assertQuota: service.assertQuota },
    budgetBytes: config.mergeMemory,
    probes: mergeProbes(tokenizer, config.maxContext ?? limits.mergeProbeTokens),
    keepsAutomatic: config.autoMerge === 'on',
    ...{ clock: systemClock, timers: systemTimers, log: logger },
  });
}

type AutoMergeParts = Pick<ServerParts, 'merges' | 'traffic' | 'engine' | 'metrics' | 'logger'>;

function startAutoMerge(config: Config, { metrics, logger, ...parts }: AutoMergeParts): () => void {
  return autoMerge({
    ...parts,
    shareUp: config.autoMergeShare / 100,
    shareDown: config.autoUnmergeShare / 100,
    bits: config.autoMergeBits,
    limits,
    ...{ clock: systemClock, timers: systemTimers, log: logger, onDecision: metrics.mergeDecided },
  });
}

type TrainingParts = RegistryParts & { readonly registry: AdapterRegistry; readonly metrics: Metrics };

/** The engine's environment, without its heap: the trainer makes few sessions and many threads' worth of arrays. */
function openTraining(config: Config, parts: TrainingParts): Promise<OpenJobs> {
  const { database, files, engine, registry, service, metrics, logger } = parts;
  const { weightBits, trainingDevice: device, ortLibrary, threads } = config;
  return openTrainingJobs({
    ...{ database, engine, registry },
    folder: join(config.dataDir, 'training'),
    base: { files, shape: () => shapeOf(engine) },
    startTrainer: trainerProcessStarter(new URL('./training/main.ts', import.meta.url), environmentForChildren()),
    trainer: {
      ...{ weightBits, device, ortLibrary, threads },
      ...{ cacheDir: join(config.dataDir, 'weights'), cudaDir: cudaDir(config.dataDir) },
    },
    share: trainingRoom(config),
    restart: defaultTrainerRestart,
    bounds: {
      turnMs: config.trainingTurn * 60_000,
      stepsMax: config.trainingStepsMax,
      trainingMsMax: config.trainingHoursMax === null ? Number.POSITIVE_INFINITY : config.trainingHoursMax * 3_600_000,
      priority: config.trainingPriority,
    },
    meter: {
      stepTaken(step, tenant) {
        metrics.trainingStepTaken(step);
        void service.usage.record({ ...noUse, tenant, trainedTokens: step.tokens });
      },
    },
    assertQuota: service.assertQuota,
    trainedSince: service.usage.trainedSince,
    clock: systemClock,
    timers: systemTimers,
    newId: () => randomUUID().replaceAll('-', '').slice(0, 24),
    newSeed: () => randomInt(2 ** 31 - 1),
    log: logger,
    files: nodeFiles,
  });
}

type ServerParts = {
  readonly config: Config;
  readonly settings: readonly SettingLine[];
  readonly files: ModelFiles;
  readonly tokenizer: Tokenizer;
  readonly engine: SupervisedEngine;
  readonly registry: AdapterRegistry;
  readonly merges: Merges;
  readonly traffic: Traffic;
  readonly offline: OfflineClient;
  readonly training: OpenJobs;
  readonly tenancy: Tenancy;
  readonly storage: StorageHealth;
  readonly tracing: Tracing | null;
  readonly service: Service;
  readonly metrics: Metrics;
  readonly logger: Logger;
};

function createServer({ config, files, training, tenancy, ...parts }: ServerParts): App {
  const grammars = new GrammarChecker();
  const app = createApp({
    ...parts,
    ...tenancy,
    grammars,
    files: training.files,
    jobs: training.jobs,
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

async function listenWithMetrics({ metricsHost: host, metricsPort: port }: Config, metrics: Metrics, log: Logger) {
  if (port === null) return null;
  const listener = await listenForMetrics(metrics, { host, port });
  log.info({ url: `${listener.url}/metrics` }, 'metrics');
  return listener;
}

/** Loaded only where it is asked for. */
async function startTracing({ otlpEndpoint: endpoint }: Config, log: Logger): Promise<Tracing | null> {
  if (endpoint === null) return null;
  const { otlpTracing } = await import('./tracing/otlp.ts');
  return otlpTracing({ endpoint, service: 'lorikeet', timers: systemTimers, log });
}

/** Asked before the model is fetched: a taken port should not be found out after minutes. */
async function assertPortFree({ host, port }: Config): Promise<void> {
  const problem = await portProblem(host, port);
  if (problem === null) return;
  throw new LorikeetError('invalid_config', {
    message: `Port ${port} on ${host} cannot be listened on (${problem}). Choose another with --port, or 0.`,
    param: 'LORIKEET_PORT',
  });
}

async function listen(app: App, { host, port }: Config): Promise<string> {
  await app.listen({ host, port });
  return urlOf(host, (app.server.address() as AddressInfo).port);
}

type Working = { readonly engine: SupervisedEngine; readonly training: OpenJobs };

/**
 * Readiness ends first, and while load balancers find out, requests are still taken. Then engine and trainer finish
 * what they have or save it, then the connections close.
 */
async function closeServer(app: App, { engine, training }: Working, config: Config): Promise<void> {
  const graceMs = config.drainSeconds * 1000;
  app.drain();
  if (engine.state === 'ready') await setTimeout(config.drainDelay * 1000);
  await Promise.all([engine.close(graceMs), training.jobs.close(Math.min(graceMs, limits.trainerPauseMs))]);
  const cancel = systemTimers.after(closeMsMax, () => app.server.closeAllConnections());
  await app.close();
  cancel();
}

function timedPhases(report: StartReport) {
  let since = systemClock.monotonic();
  return (name: string, detail: string) => {
    const now = systemClock.monotonic();
    report.done(name, detail, now - since);
    since = now;
  };
}

const aborted = (signal: AbortSignal) =>
  signal.aborted
    ? Promise.resolve()
    : new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** A stop while the server still starts ends the start. */
async function unlessStopped<T>(stop: AbortSignal, work: Promise<T>): Promise<T> {
  const stopped = aborted(stop).then(() => {
    throw new LorikeetError('server_draining', { message: 'Stopped before the server was ready.' });
  });
  return await Promise.race([work, stopped]);
}
