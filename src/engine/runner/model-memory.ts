// The memory of a decoder beside its weights, where its sessions compute: KV cache, rank pages and, on a device,
// logits. Also makes what runs over it.

import type { Activations, ModelShape } from '../../core/base-model.ts';
import type { Clock } from '../../core/clock.ts';
import type { AdapterBits } from '../../core/page-sizes.ts';
import type { AdaptersInGraph } from '../../graph/adapted-linear.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import { type BlockForm, type GraphTarget, type HostReal, hostTarget, type Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { createBreath } from '../adapters/breath.ts';
import { DevicePages } from '../adapters/device-pages.ts';
import { HostPages } from '../adapters/host-pages.ts';
import type { PageMemory } from '../adapters/page-memory.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import { type BlockKvForm, blockKvBytes, createBlockKv } from '../kv/block-kv.ts';
import { createDeviceBlocks } from '../kv/device-blocks.ts';
import { createDeviceKv } from '../kv/device-kv.ts';
import type { DeviceRows } from '../kv/device-rows.ts';
import { createHostBlocks, kvBlockBytes } from '../kv/host-blocks.ts';
import type { KvCache } from '../kv/kv-cache.ts';
import { createRowSessions, type RowSessions } from '../kv/row-sessions.ts';
import { createBlockCompute } from './block-compute.ts';
import { deviceInputs, hostInputs } from './block-inputs.ts';
import { deviceBlockRuns } from './block-runs.ts';
import type { Compute } from './compute.ts';
import type { DecoderModels } from './decoder-models.ts';
import { createDeviceCompute } from './device-compute.ts';
import { createDeviceLogits, type DeviceLogits } from './device-logits.ts';
import { createDeviceRuns, type DeviceRuns } from './device-runs.ts';
import type { TokenKind } from './forward-batch.ts';
import { createGivenRows } from './given-rows.ts';
import { createHostRuns } from './host-runs.ts';

export type ModelMemory = {
  readonly kv: KvCache;
  readonly memory: PageMemory;
  /** The graphs that an adapter needs; for null those that most batches need. */
  formsOf(adapter: ResidentAdapter | null): readonly AdaptersInGraph[];
  /** Makes what runs these models over this memory; called once. */
  computeOver(models: DecoderModels): Compute;
  release(): Promise<void>;
};

export type ModelMemoryOptions = {
  readonly rows: number;
  readonly positions: number;
  readonly pages?: number;
  /** Bits of adapters' values in pages on the processor; 16 by default. */
  readonly adapterBits?: AdapterBits;
  readonly target: GraphTarget;
  /** Element type of the KV cache on the processor. */
  readonly kvType: HostReal;
  /** Bytes for what rows hold, in caches of blocks; a whole context for each row by default. */
  readonly kvBytes?: number;
  /** Bytes for prefixes that no row holds, in caches of blocks; none by default. */
  readonly prefixBytes?: number;
  readonly activations: Readonly<Record<TokenKind, Activations>>;
  readonly clock: Clock;
};

export function createModelMemory(runtime: Runtime, model: LoweredModel, options: ModelMemoryOptions): ModelMemory {
  return options.target.on === 'host' ? onHost(runtime, model, options) : onDevice(runtime, model, options);
}

function onHost(runtime: Runtime, model: LoweredModel, options: ModelMemoryOptions): ModelMemory {
  const { shape } = model;
  const { pages: slots = 0, kvType, activations, adapterBits = 16 } = options;
  const { blocks: form } = hostTarget;
  const kv = createBlockKv(blockKvForm(shape, form, kvType, options), (blocks) =>
    createHostBlocks(runtime, shape, form, kvType, blocks),
  );
  const memory = new HostPages(runtime, shape, { slots, bits: adapterBits, breath: createBreath(options.clock) });
  const runs = createHostRuns(runtime, shape, memory);
  const givenRows = createGivenRows(model);
  const inputs = hostInputs(activations);
  return {
    ...{ kv, memory },
    formsOf: (adapter) => [runs.formOf(adapter)],
    computeOver: (models) => createBlockCompute(runtime, { shape, kv, runs, models, inputs, givenRows, logits: null }),
    release: async () => memory.release(),
  };
}

type KvOptions = Pick<ModelMemoryOptions, 'rows' | 'positions' | 'kvBytes' | 'prefixBytes' | 'target'>;

function blockKvForm(shape: ModelShape, { length }: BlockForm, type: Real, options: KvOptions): BlockKvForm {
  const { rows, positions, kvBytes: bytes, prefixBytes = 0, target } = options;
  return {
    ...{ rows, positions, length, blockBytes: kvBlockBytes(shape, length, type), prefixBytes },
    ...(bytes ? { bytes } : {}),
    hasIdle: target.on === 'device',
  };
}

/** Bytes of the KV cache on a device without merged models. */
export function deviceKvBytes(shape: ModelShape, options: KvOptions): number {
  const { rows, positions, target } = options;
  const { real, blocks } = target;
  if (blocks) return blockKvBytes(blockKvForm(shape, blocks, real, options));
  return rows * kvBlockBytes(shape, positions, real);
}

function onDevice(runtime: Runtime, { shape }: LoweredModel, options: ModelMemoryOptions): ModelMemory {
  const { rows, pages: slots = 0, target } = options;
  const { real, hasOperators = false } = target;
  const sessions = createRowSessions(runtime, real);
  const clearing = Promise.withResolvers<void>();
  const ready = clearing.promise;
  const held = (target.blocks ? heldInBlocks : heldInRows)(runtime, sessions, shape, options, ready);
  const { kv } = held;
  const memory = new DevicePages(runtime, sessions, shape, { slots, real, ready, isListed: !hasOperators });
  const logits = createDeviceLogits(runtime, sessions, { rows, vocabulary: shape.vocabulary });
  // Memory must not be allocated during runs: all of it is allocated at this point.
  clear([...held.pools, ...memory.pools]).then(clearing.resolve, clearing.reject);
  // Awaiting `ready` reports a failure.
  ready.catch(() => {});
  const runs = createDeviceRuns(runtime, shape, memory, hasOperators);
  return {
    ...{ kv, memory },
    formsOf: runs.formsOf,
    computeOver: (models) => held.computeOver({ runs, models, logits }),
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

/** The KV cache on a device, and what runs over it. */
type Held = {
  readonly kv: KvCache;
  readonly pools: readonly DeviceRows[];
  computeOver(over: Over): Compute;
};

type Over = { readonly runs: DeviceRuns; readonly models: DecoderModels; readonly logits: DeviceLogits };

function heldInRows(
  runtime: Runtime,
  sessions: RowSessions,
  shape: ModelShape,
  { rows, positions, target: { real } }: ModelMemoryOptions,
  ready: Promise<void>,
): Held {
  let compute: ReturnType<typeof createDeviceCompute> | null = null;
  const onGone = (place: string) => compute?.dropPlace(place);
  const kv = createDeviceKv(runtime, sessions, shape, { rows, positions, real, ready, onGone });
  return {
    ...{ kv, pools: kv.pools },
    computeOver(over) {
      compute = createDeviceCompute(runtime, { shape, kv, ...over });
      return compute;
    },
  };
}

function heldInBlocks(
  runtime: Runtime,
  sessions: RowSessions,
  shape: ModelShape,
  options: ModelMemoryOptions,
  ready: Promise<void>,
): Held {
  const { real, blocks: form } = options.target as GraphTarget & { readonly blocks: BlockForm };
  const pools: DeviceRows[] = [];
  const kv = createBlockKv(blockKvForm(shape, form, real, options), (blocks) => {
    const memory = createDeviceBlocks(runtime, sessions, shape, { blocks: form, real, ready }, blocks);
    pools.push(memory.pool);
    return memory;
  });
  const inputs = deviceInputs(form);
  return {
    ...{ kv, pools },
    computeOver: ({ runs, ...over }) =>
      createBlockCompute(runtime, { shape, kv, runs: deviceBlockRuns(runs), inputs, givenRows: null, ...over }),
  };
}

async function clear(pools: readonly DeviceRows[]): Promise<void> {
  for (const rows of pools) await rows.clear();
}
