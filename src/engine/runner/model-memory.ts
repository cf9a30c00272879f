// What a decoder holds beside weights, where its sessions compute: keys, values, rank pages and, on a device, logits;
// and what runs over it.

import type { Activations } from '../../core/base-model.ts';
import type { Clock } from '../../core/clock.ts';
import type { AdapterBits } from '../../core/page-sizes.ts';
import type { AdaptersInGraph } from '../../graph/adapted-linear.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import type { GraphTarget, Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { createBreath } from '../adapters/breath.ts';
import { DevicePages } from '../adapters/device-pages.ts';
import { HostPages } from '../adapters/host-pages.ts';
import type { PageMemory } from '../adapters/page-memory.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { createDeviceKv } from '../kv/device-kv.ts';
import type { DeviceRows } from '../kv/device-rows.ts';
import { createHostKv } from '../kv/host-kv.ts';
import type { KvCache } from '../kv/kv-cache.ts';
import { createRowSessions } from '../kv/row-sessions.ts';
import type { Compute } from './compute.ts';
import type { DecoderModels } from './decoder-models.ts';
import { createDeviceCompute } from './device-compute.ts';
import { createDeviceLogits } from './device-logits.ts';
import { createDeviceRuns } from './device-runs.ts';
import type { TokenKind } from './forward-batch.ts';
import { createGivenRows } from './given-rows.ts';
import { createHostCompute } from './host-compute.ts';
import { createHostRuns } from './host-runs.ts';

export type ModelMemory = {
  readonly kv: KvCache;
  readonly memory: PageMemory;
  /** Graphs that an adapter needs; null: that most batches need. */
  formsOf(adapter: ResidentAdapter | null): readonly AdaptersInGraph[];
  /** Runs of these models over this memory; once. */
  computeOver(models: DecoderModels): Compute;
  release(): Promise<void>;
};

export type ModelMemoryOptions = {
  readonly rows: number;
  readonly positions: number;
  readonly pages?: number;
  /** Of adapters' values in pages, on the processor; 16 by default. */
  readonly adapterBits?: AdapterBits;
  readonly target: GraphTarget;
  /** Of keys and values on the processor. */
  readonly kvType: Real;
  /** Of what rows hold on the processor; left out: a whole context for each. */
  readonly kvBytes?: number;
  /** Of prefixes that no row holds, on the processor; left out: none stays. */
  readonly prefixBytes?: number;
  readonly activations: Readonly<Record<TokenKind, Activations>>;
  readonly clock: Clock;
};

export function createModelMemory(runtime: Runtime, model: LoweredModel, options: ModelMemoryOptions): ModelMemory {
  return options.target.on === 'host' ? onHost(runtime, model, options) : onDevice(runtime, model, options);
}

function onHost(runtime: Runtime, model: LoweredModel, options: ModelMemoryOptions): ModelMemory {
  const { shape } = model;
  const { rows, positions, pages: slots = 0, kvType: type, kvBytes: bytes, prefixBytes = 0, activations } = options;
  const { adapterBits = 16 } = options;
  const kv = createHostKv(runtime, shape, { rows, positions, type, prefixBytes, ...(bytes ? { bytes } : {}) });
  const memory = new HostPages(runtime, shape, { slots, bits: adapterBits, breath: createBreath(options.clock) });
  const runs = createHostRuns(runtime, shape, memory);
  const givenRows = createGivenRows(model);
  return {
    ...{ kv, memory },
    formsOf: (adapter) => [runs.formOf(adapter)],
    computeOver: (models) => createHostCompute(runtime, { shape, kv, runs, givenRows, models, activations }),
    release: async () => memory.release(),
  };
}

function onDevice(
  runtime: Runtime,
  { shape }: LoweredModel,
  { rows, positions, pages: slots = 0, target: { real, hasOperators = false } }: ModelMemoryOptions,
): ModelMemory {
  const sessions = createRowSessions(runtime, real);
  const clearing = Promise.withResolvers<void>();
  const ready = clearing.promise;
  let compute: ReturnType<typeof createDeviceCompute> | null = null;
  const onGone = (place: string) => compute?.dropPlace(place);
  const kv = createDeviceKv(runtime, sessions, shape, { rows, positions, real, ready, onGone });
  const memory = new DevicePages(runtime, sessions, shape, { slots, real, ready, isListed: !hasOperators });
  const logits = createDeviceLogits(runtime, sessions, { rows, vocabulary: shape.vocabulary });
  // Memory is not allocated while anything runs: all of it is there now.
  clear([...kv.pools, ...memory.pools]).then(clearing.resolve, clearing.reject);
  // Whoever waits for it hears of a failure.
  ready.catch(() => {});
  const runs = createDeviceRuns(runtime, shape, memory, hasOperators);
  return {
    ...{ kv, memory },
    formsOf: runs.formsOf,
    computeOver(models) {
      compute = createDeviceCompute(runtime, { shape, kv, runs, models, logits });
      return compute;
    },
    async release() {
      await runtime.betweenRuns(() => logits.release());
      await sessions.release();
      await runtime.betweenRuns(() => {
        kv.release();
        memory.release();
      });
    },
  };
}

async function clear(pools: readonly DeviceRows[]): Promise<void> {
  for (const rows of pools) await rows.clear();
}
