// The engine as a process that is kept alive, and processes for work on weights beside it.

import { join } from 'node:path';
import { type Config, cudaDir, environmentForChildren } from '../config.ts';
import type { ModelFiles, ModelShape } from '../core/base-model.ts';
import { systemClock, systemTimers } from '../core/clock.ts';
import { parseDevice } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { MemoryPlan } from '../core/memory-plan.ts';
import { engineProcessStarter } from '../protocol/engine-process.ts';
import type { EngineInfo } from '../protocol/messages.ts';
import { type OfflineClient, offlineClient } from '../protocol/offline-process.ts';
import { probe } from '../protocol/probe-device.ts';
import { type SupervisedEngine, superviseEngine } from '../protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../protocol/supervisor-options.ts';
import { mallocEnvironment } from '../runtime/malloc.ts';
import type { Logger } from '../server/http/logger.ts';
import { tokenTable } from '../tokenizer/token-table.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

type EngineParts = {
  readonly model: ModelFiles;
  readonly memory: MemoryPlan;
  readonly tokenizer: Tokenizer;
  readonly logger: Logger;
};

export function startEngine(config: Config, { model, memory, tokenizer, logger }: EngineParts): SupervisedEngine {
  const { weightBits, decodeActivations, device, ortLibrary, threads, prefillChunk } = config;
  const { devicePrecision, deviceKernels, kvType, adapterBits } = config;
  const { maxSequences, maxContext, adapterPages } = memory;
  const { kv: kvBytes, prefixes: prefixBytes, texts: pastTextBytes } = memory.parts;
  const { adapters: adapterBytes, merges: mergeBytes } = memory.parts;
  return superviseEngine({
    startProcess: engineProcessStarter(new URL('../engine/main.ts', import.meta.url), {
      ...mallocEnvironment,
      ...environmentForChildren(),
    }),
    config: {
      ...{ model, weightBits, decodeActivations, device, ortLibrary, threads, maxSequences, maxContext, prefillChunk },
      ...{
        devicePrecision,
        deviceKernels,
        kvType,
        kvBytes,
        prefixBytes,
        pastTextBytes,
        adapterBytes,
        adapterPages,
        adapterBits,
        mergeBytes,
      },
      sharesBasePrefixes: config.shareBasePrefixes === 'on',
      speculates: config.speculation !== 'off',
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

export const startOffline = (model: ModelFiles, log: Logger): OfflineClient =>
  offlineClient({
    entry: new URL('../offline/main.ts', import.meta.url),
    env: { ...mallocEnvironment, ...environmentForChildren() },
    ...{ model, limits, log },
  });

/** Whether a device is there, and with what. */
export const probeOf = ({ ortLibrary: library, dataDir }: Config, device: string) =>
  probe({ library, device, cudaDir: cudaDir(dataDir) }, environmentForChildren());

/** Throws `device_unavailable` before a model is fetched for it. What ends a probe is the engine's to say. */
export async function assertDeviceThere(config: Config): Promise<void> {
  if (parseDevice(config.device).kind === 'cpu') return;
  const found = await probeOf(config, config.device);
  if ('error' in found && found.isSaid) throw new LorikeetError('device_unavailable', { message: found.error });
}

export function shapeOf({ info }: SupervisedEngine): ModelShape {
  if (info === null) throw new LorikeetError('engine_unavailable');
  return info.shape;
}

export function describeEngine({ weightBits, device, threads, weightsCached }: EngineInfo): string {
  const cached = weightsCached ? 'weights from the cache' : 'weights lowered and cached';
  return `${weightBits}-bit on ${device}, ${threads} threads, ${cached}`;
}
