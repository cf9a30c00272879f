// Opens the merges, and starts the policy that merges adapters by their traffic.

import type { Config } from '../config.ts';
import { systemClock, systemTimers } from '../core/clock.ts';
import { limits } from '../core/limits.ts';
import type { MemoryPlan } from '../core/memory-plan.ts';
import { autoMerge } from '../jobs/merges/auto-merge.ts';
import { openMerges } from '../jobs/merges/merge-keeper.ts';
import type { Merges } from '../jobs/merges/merges.ts';
import { mergeProbes } from '../server/merges/merge-probes.ts';
import { mergeTable } from '../storage/merge-table.ts';
import type { RegistryParts } from './adapters.ts';
import type { ServerParts } from './http.ts';

type MergeParts = Omit<RegistryParts, 'files' | 'store'> &
  Pick<ServerParts, 'tokenizer' | 'registry'> & { readonly memory: MemoryPlan };

export function startMerges(
  config: Config,
  { database, changes, memory, tokenizer, engine, registry, service, logger }: MergeParts,
): Promise<Merges> {
  return openMerges({
    table: mergeTable(database),
    changes,
    ...{ registry, engine, limits, assertQuota: service.assertQuota },
    budgetBytes: memory.engine.merges,
    probes: mergeProbes(tokenizer, memory.maxContext, limits),
    keepsAutomatic: config.autoMerge === 'on',
    ...{ clock: systemClock, timers: systemTimers, log: logger },
  });
}

type AutoMergeParts = Pick<ServerParts, 'merges' | 'traffic' | 'engine' | 'tenancy' | 'metrics' | 'logger'>;

export function startAutoMerge(
  config: Config,
  { metrics, logger, tenancy: { audit }, ...parts }: AutoMergeParts,
): () => void {
  return autoMerge({
    ...parts,
    audit,
    shareUp: config.autoMergeShare / 100,
    shareDown: config.autoUnmergeShare / 100,
    bits: config.autoMergeBits,
    limits,
    ...{ clock: systemClock, timers: systemTimers, log: logger, onDecision: metrics.mergeDecided },
  });
}
