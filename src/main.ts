// The composition root: configuration -> data dir -> storage -> model -> tokeniser -> engine -> app -> listen, and the
// reverse at the end. Everything real is made here; everything else is given what it needs.

import { randomUUID } from 'node:crypto';
import { type Config, describeSettings, type LoadedConfig } from './config.ts';
import { systemClock, systemTimers } from './core/clock.ts';
import { limits } from './core/limits.ts';
import { describeMemory } from './core/memory-plan.ts';
import { measureTraffic } from './jobs/merges/traffic.ts';
import { addExamples, loadModules, openAdapters } from './main/adapters.ts';
import { assertDeviceThere, reportEngine, startEngine, startOffline } from './main/engine.ts';
import { assertPortFree, closeServer, createServer, listen, listenWithMetrics, startTracing } from './main/http.ts';
import { planFor } from './main/memory.ts';
import { startAutoMerge, startMerges } from './main/merges.ts';
import { findModel } from './main/model.ts';
import { aborted, type StartReport, timedPhases, unlessStopped } from './main/start-report.ts';
import { startStoreSweep } from './main/store-sweep.ts';
import { closeOrOpen, startService } from './main/tenants.ts';
import { openTraining } from './main/training.ts';
import { createMetrics } from './metrics/metrics.ts';
import { readGguf } from './models/read-gguf.ts';
import { createLogger } from './server/http/logger.ts';
import { storageHealth } from './storage/health.ts';
import { openStorage } from './storage/open-storage.ts';
import { writeKeyUses } from './tenants/key-uses.ts';
import { openTenancy } from './tenants/tenancy.ts';
import { loadTokenizer } from './tokenizer/load.ts';

/**
 * Serves until `asked` is aborted. Throws the error of a start that fails, after closing all that was started.
 * The port is open, and /livez answers, while the engine still loads; /readyz waits for the engine.
 */
export async function serve(loaded: LoadedConfig, report: StartReport, asked: AbortSignal) {
  const { config, unknownVariables } = loaded;
  const lost = new AbortController();
  const stop = AbortSignal.any([asked, lost.signal]);
  const began = systemClock.monotonic();
  await using open = new AsyncDisposableStack();
  const phase = timedPhases(report);
  for (const name of unknownVariables) report.line(`${name} is set, but is no setting of Lorikeet.`);

  const logger = createLogger(config.logLevel);
  const parts = { newId: randomUUID, clock: systemClock, timers: systemTimers, log: logger, lost };
  const { database, store, changes } = await openStorage(config, parts, open);
  const tenancy = await openTenancy(database, systemClock, changes);
  const hasKeys = await closeOrOpen(config, tenancy, report);
  await assertPortFree(config);
  phase('data', config.dataDir);

  const files = await unlessStopped(stop, findServedModel(config, report));
  const memory = await planFor(config, files, (line) => report.line(line));
  phase('model', `${files.name} (${files.source}); ${describeMemory(memory)}`);
  const tokenizer = await loadTokenizer(files, (path) => readGguf(path).metadata);
  phase('tokeniser', `${tokenizer.vocabulary} tokens`);

  open.defer(writeKeyUses(tenancy.keys, systemTimers, logger));
  const service = await startService(config, { database, changes, tenancy, logger });
  open.defer(() => service.close());
  const engine = startEngine(config, { model: files, memory, tokenizer, logger });
  open.defer(() => engine.close(0));
  const shared = { database, changes, files, engine, service, logger };
  const { registry, templates } = await openAdapters(config, { ...shared, store, tokenizer }, open);
  const merges = await startMerges(config, { ...shared, memory, tokenizer, registry });
  open.defer(() => merges.close());
  const traffic = measureTraffic(systemClock, limits);
  const metrics = createMetrics({ modelName: files.name, memory });
  if (config.autoMerge === 'on')
    open.defer(startAutoMerge(config, { merges, traffic, engine, tenancy, metrics, logger }));
  const offline = startOffline(files, logger);
  open.defer(() => offline.close());
  const training = await openTraining(config, { ...shared, store, registry, tenancy, metrics, memory });
  open.defer(() => training.jobs.close(0));
  open.defer(startStoreSweep({ database, store, metrics, logger }));
  const tracing = await startTracing(config, logger);
  open.defer(() => tracing?.close());
  const app = createServer({
    ...{ config, files, tokenizer, engine, registry, merges, traffic, offline, training, tenancy, service },
    templates,
    ...{ metrics, logger, changes, storage: storageHealth(database, config.dataDir, systemClock), tracing },
    settings: describeSettings(loaded),
  });
  open.defer(() => closeServer(app, { engine, training }, config));
  const listener = await listenWithMetrics(config, metrics, logger);
  open.defer(() => listener?.close());
  const url = await listen(app, config);
  phase('http', url);

  const info = await unlessStopped(stop, engine.ready);
  reportEngine(report, engine, info);
  const examples = await addExamples(config, registry, logger);
  if (examples.length > 0) phase('adapters', `examples ${examples.join(', ')}`);
  const modules = await loadModules(registry, config.loraModules);
  if (modules.length > 0) phase('adapters', `loaded ${modules.join(', ')}`);
  training.start(app.answerLine);
  const startMs = Math.round(systemClock.monotonic() - began);
  report.ready(url, !hasKeys, startMs);
  logger.info({ url, startMs, engine: info, source: files.source }, 'ready');

  await aborted(stop);
  logger.info({ drainSeconds: config.drainSeconds }, 'stopping');
  lost.signal.throwIfAborted();
}

/** Finds the base model's files, after a check that one of the devices exists: without any, no model is downloaded. */
async function findServedModel(config: Config, report: StartReport) {
  await assertDeviceThere(config);
  return await findModel(config, report);
}
