// Starts the engine processes under their supervisor, and the client of the process for offline work on weights.

import { join } from 'node:path';
import { type Config, cudaDir, environmentForChildren } from '../config.ts';
import type { ModelFiles, ModelShape } from '../core/base-model.ts';
import { systemClock, systemTimers } from '../core/clock.ts';
import { deviceNames, kindOf } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { MemoryPlan } from '../core/memory-plan.ts';
import { engineProcessStarter } from '../protocol/engine-process.ts';
import type { EngineConfig, EngineInfo } from '../protocol/messages.ts';
import { type OfflineClient, offlineClient } from '../protocol/offline-process.ts';
import { probe } from '../protocol/probe-device.ts';
import { type SupervisedEngine, superviseEngine } from '../protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../protocol/supervisor-options.ts';
import { physicalCores } from '../runtime/cores.ts';
import { mallocEnvironment } from '../runtime/malloc.ts';
import type { Logger } from '../server/http/logger.ts';
import { tokenTable } from '../tokenizer/token-table.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { StartReport } from './start-report.ts';

type EngineParts = {
  readonly model: ModelFiles;
  readonly memory: MemoryPlan;
  readonly tokenizer: Tokenizer;
  readonly logger: Logger;
};

export function startEngine(config: Config, { model, memory, tokenizer, logger }: EngineParts): SupervisedEngine {
  const { weightBits, decodeActivations, ortLibrary, prefillChunk } = config;
  const { devicePrecision, deviceKernels, deviceKv, kvType, adapterBits } = config;
  const { maxSequences, maxContext, adapterPages } = memory;
  const { kvBytes, prefixBytes } = kvMemory(config, memory);
  const { texts: pastTextBytes } = memory.engine;
  const { adapters: adapterBytes, merges: mergeBytes } = memory.engine;
  const devices = deviceNames(config.device);
  const each: Omit<EngineConfig, 'device' | 'trainsBeside'> = {
    ...{ model, weightBits, decodeActivations, ortLibrary, maxSequences, maxContext, prefillChunk },
    ...{ devicePrecision, deviceKernels, deviceKv, kvType, kvBytes, prefixBytes },
    ...{ adapterBytes, adapterPages, adapterBits, pastTextBytes, mergeBytes },
    threads: threadsOfEach(config),
    sharesBasePrefixes: config.shareBasePrefixes === 'on',
    speculates: config.speculation !== 'off',
    cudaDir: cudaDir(config.dataDir),
    cacheDir: join(config.dataDir, 'weights'),
    tokens: tokenTable(tokenizer),
  };
  return superviseEngine({
    startProcess: engineProcessStarter(new URL('../engine/main.ts', import.meta.url), {
      ...mallocEnvironment,
      ...environmentForChildren(),
    }),
    configs: devices.map((device) => ({
      ...{ ...each, device },
      ...(config.trainingDevice === device && { trainsBeside: config.trainingPrecision }),
    })),
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

/** Default size of the prefix cache on a device other than the processor, in bytes. */
const devicePrefixBytes = 2 ** 30;

/** Sizes of the KV cache and of the prefix cache in bytes. The plan of memory does not cover a card's own memory. */
function kvMemory(config: Config, { engine }: MemoryPlan) {
  const { device, kvMemory, prefixCacheMemory } = config;
  if (kindOf(device) === 'cpu') return { kvBytes: engine.kv, prefixBytes: engine.prefixes };
  return { kvBytes: kvMemory ?? 0, prefixBytes: prefixCacheMemory ?? devicePrefixBytes };
}

/** Threads of each engine: engines on the processor share its cores evenly. null leaves the number to the engine. */
function threadsOfEach({ device, threads }: Config): number | null {
  const engines = deviceNames(device).length;
  if (threads !== null || engines === 1 || kindOf(device) !== 'cpu') return threads;
  return Math.max(1, Math.floor(physicalCores() / engines));
}

export const startOffline = (model: ModelFiles, log: Logger): OfflineClient =>
  offlineClient({
    entry: new URL('../offline/main.ts', import.meta.url),
    env: { ...mallocEnvironment, ...environmentForChildren() },
    ...{ model, limits, log },
  });

/** Asks a process of its own whether `device` works, and with which library and providers. */
export const probeOf = ({ ortLibrary: library, dataDir }: Config, device: string) =>
  probe({ library, device, cudaDir: cudaDir(dataDir) }, environmentForChildren());

/**
 * Throws `device_unavailable` before a model is downloaded, where none of the configured devices exists. A probe that
 * ends without an answer does not count as missing: the engine then reports what is wrong.
 */
export async function assertDeviceThere(config: Config): Promise<void> {
  if (kindOf(config.device) === 'cpu') return;
  const found = await Promise.all(deviceNames(config.device).map((device) => probeOf(config, device)));
  const missing = found.flatMap((one) => ('error' in one && one.isSaid ? [one.error] : []));
  if (missing.length === found.length) throw new LorikeetError('device_unavailable', { message: missing[0]! });
}

export function shapeOf({ info }: SupervisedEngine): ModelShape {
  if (info === null) throw new LorikeetError('engine_unavailable');
  return info.shape;
}

/** Reports the engine's start, and which engines could not start: those are tried again while the others serve. */
export function reportEngine(report: StartReport, { engines }: SupervisedEngine, info: EngineInfo): void {
  const { weightBits, device, threads, weightsCached, loadMs } = info;
  const cached = weightsCached ? 'weights from the cache' : 'weights lowered and cached';
  report.done('engine', `${weightBits}-bit on ${device}, ${threads} threads, ${cached}`, loadMs);
  for (const { name, problem } of engines) if (problem !== null) report.line(`${name} does not serve: ${problem}`);
}
