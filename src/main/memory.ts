// Plans this machine's memory from its limit, the model's needs and the settings.

import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import type { Config } from '../config.ts';
import type { ModelFiles } from '../core/base-model.ts';
import { deviceNames, kindOf, parseDevice } from '../core/device.ts';
import { type MemoryPlan, planMemory } from '../core/memory-plan.ts';
import { openModel } from '../models/open.ts';
import { roundsFloats, servedBytes } from '../models/served-bytes.ts';

/** The machine's memory in bytes, or what its cgroup (v1 or v2) allows of it; `isOwn` is true for a cgroup's limit. */
export function memoryLimit(): { readonly limitBytes: number; readonly isOwn: boolean } {
  const machine = totalmem();
  const allowed = constrainedMemory();
  const isOwn = allowed > 0 && allowed < machine;
  return { limitBytes: isOwn ? allowed : machine, isOwn };
}

/**
 * Plans memory for a model, whose headers it reads. Throws `memory_exceeded` where the model cannot fit.
 * @param say receives lines that a user should read about the weights
 */
export async function planFor(
  config: Config,
  files: ModelFiles,
  say: (line: string) => void = () => {},
): Promise<MemoryPlan> {
  const limit = memoryLimit();
  const model = await openModel(files);
  if (roundsFloats(model, config.weightBits)) {
    say(`${files.name} has floats as weights, which are rounded to 8 bits: LORIKEET_WEIGHT_BITS=16 keeps 16 of them.`);
  }
  return planMemory({
    ...limit,
    shape: model.shape,
    weightBytes: servedBytes(model, config.weightBits),
    adapterBits: config.adapterBits,
    kvNumberBytes: config.kvType === 'float32' ? 4 : 2,
    engines: deviceNames(config.device).length,
    onDevice: kindOf(config.device) !== 'cpu',
    trains: parseDevice(config.trainingDevice).kind === 'cpu',
    remembersTexts: config.speculation === 'on',
    chosen: {
      maxSequences: config.maxSequences,
      maxContext: config.maxContext,
      adapterPages: config.adapterPages,
      kv: config.kvMemory,
      prefixes: config.prefixCacheMemory,
      adapters: config.adapterMemory,
      merges: config.mergeMemory,
    },
  });
}
