// Opens training jobs, whose trainer is a process of its own.

import { randomInt, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type Config, cudaDir, environmentForChildren } from '../config.ts';
import { systemClock, systemTimers } from '../core/clock.ts';
import { deviceNames, kindOf } from '../core/device.ts';
import { type MemoryPlan, trainingMemory } from '../core/memory-plan.ts';
import { type OpenJobs, openTrainingJobs } from '../jobs/jobs.ts';
import { defaultTrainerRestart } from '../jobs/policies/trainer-restart.ts';
import { trainingRoom } from '../jobs/policies/training-room.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { EngineInfo } from '../protocol/messages.ts';
import { trainerProcessStarter } from '../protocol/trainer-process.ts';
import type { AdapterRegistry } from '../registry/adapter-registry.ts';
import { nodeFiles } from '../storage/files.ts';
import { below } from '../storage/object-store.ts';
import type { Tenancy } from '../tenants/tenancy.ts';
import { noUse } from '../tenants/usage.ts';
import type { RegistryParts } from './adapters.ts';
import { shapeOf } from './engine.ts';

type TrainingParts = RegistryParts & {
  readonly registry: AdapterRegistry;
  readonly metrics: Metrics;
  readonly tenancy: Tenancy;
  readonly memory: MemoryPlan;
};

/**
 * Batch lines at once for each engine on the processor: more rows bring no more tokens a second there, and delay
 * everyone's next token.
 */
const batchPlacesOnCpu = 8;

/** How many lines of batches may run at once. The other slots stay free for requests that somebody waits for. */
function batchPlaces({ device }: Config, info: EngineInfo | null): number {
  const half = Math.ceil((info?.maxSequences ?? 1) / 2);
  return kindOf(device) === 'cpu' ? Math.min(half, batchPlacesOnCpu * deviceNames(device).length) : half;
}

/**
 * Opens files of rows, training jobs and batches. The trainer gets the engine's environment without
 * `mallocEnvironment`: it makes few sessions, but large arrays on many threads.
 */
export function openTraining(config: Config, parts: TrainingParts): Promise<OpenJobs> {
  const { database, store, changes, files, engine, registry, service, tenancy, metrics, memory, logger } = parts;
  const { weightBits, trainingDevice: device, trainingPrecision: precision, ortLibrary, threads } = config;
  return openTrainingJobs({
    ...{ database, changes, engine, registry },
    folder: join(config.dataDir, 'training'),
    base: { files, shape: () => shapeOf(engine) },
    startTrainer: trainerProcessStarter(new URL('../training/main.ts', import.meta.url), environmentForChildren()),
    trainer: {
      ...{ weightBits, device, precision, ortLibrary, threads },
      ...{ cacheDir: join(config.dataDir, 'weights'), cudaDir: cudaDir(config.dataDir) },
      ...(kindOf(device) === 'cpu' ? { memory: trainingMemory(memory) } : {}),
    },
    share: trainingRoom(config),
    batchPlaces: () => batchPlaces(config, engine.info),
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
    audit: tenancy.audit,
    assertQuota: service.assertQuota,
    trainedSince: service.usage.trainedSince,
    clock: systemClock,
    timers: systemTimers,
    newId: () => randomUUID().replaceAll('-', '').slice(0, 24),
    newSeed: () => randomInt(2 ** 31 - 1),
    log: logger,
    files: nodeFiles,
    shared: store === null ? null : below(store, 'training'),
  });
}
