// What a decoder holds beside weights: keys, values, rank pages and, on a device, logits, where its sessions compute.

import type { Clock } from '../core/clock.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import type { GraphTarget, Real } from '../graph/target.ts';
import type { Runtime } from '../runtime/session.ts';
import type { AdapterRuns } from './adapters/adapter-runs.ts';
import { createBreath } from './adapters/breath.ts';
import { HostPages } from './adapters/host-pages.ts';
import { createHostRuns } from './adapters/host-runs.ts';
import type { PageMemory } from './adapters/page-memory.ts';
import { createAnchoredKv } from './device/anchored-kv.ts';
import { createDeviceKv } from './device/device-kv.ts';
import { createDeviceLogits, type DeviceLogits } from './device/device-logits.ts';
import { DevicePages } from './device/device-pages.ts';
import type { DeviceRows } from './device/device-rows.ts';
import { createDeviceRuns } from './device/device-runs.ts';
import type { RowLengths } from './device/row-lengths.ts';
import { createRowSessions } from './device/row-sessions.ts';
import { createHostKv } from './kv/host-kv.ts';
import type { KvCache } from './kv-cache.ts';

export type ModelMemory = {
  readonly kv: KvCache;
  readonly memory: PageMemory;
  readonly runs: AdapterRuns;
  /** null where JavaScript's memory is the one that sessions compute in. */
  readonly logits: DeviceLogits | null;
  /** Of rows that a run may take along; null where it may not. */
  readonly lengths: RowLengths | null;
  release(): Promise<void>;
};

export type ModelMemoryOptions = {
  readonly rows: number;
  readonly positions: number;
  readonly pages?: number;
  readonly target: GraphTarget;
  /** Of keys and values on the processor. */
  readonly kvType: Real;
  /** Of prefixes that no row holds, on the processor; left out: none stays. */
  readonly prefixBytes?: number;
  readonly clock: Clock;
  /** Keys' and values' memory of this place goes: nothing may be tied to it any more. */
  readonly onGone: (place: string) => void;
};

export function createModelMemory(
  runtime: Runtime,
  { shape }: LoweredModel,
  { rows, positions, pages: slots = 0, target, kvType, prefixBytes = 0, clock, onGone }: ModelMemoryOptions,
): ModelMemory {
  const { on, real, hasOperators = false } = target;
  if (on === 'host') {
    const kv = createHostKv(runtime, shape, { rows, positions, type: kvType, prefixBytes });
    const memory = new HostPages(runtime, shape, slots, createBreath(clock));
    const release = async () => memory.release();
    return { kv, memory, runs: createHostRuns(runtime, shape, memory), logits: null, lengths: null, release };
  }
  const sessions = createRowSessions(runtime, real);
  const clearing = Promise.withResolvers<void>();
  const ready = clearing.promise;
  const createKv = runtime.device?.anchored ? createAnchoredKv : createDeviceKv;
  const kv = createKv(runtime, sessions, shape, { rows, positions, real, ready, onGone });
  const memory = new DevicePages(runtime, sessions, shape, { slots, real, ready, isListed: !hasOperators });
  const logits = createDeviceLogits(runtime, sessions, { rows, vocabulary: shape.vocabulary });
  // Memory is not allocated while anything runs: all of it is there now.
  clear([...kv.pools, ...memory.pools]).then(clearing.resolve, clearing.reject);
  // Whoever waits for it hears of a failure.
  ready.catch(() => {});
  return {
    kv,
    memory,
    runs: createDeviceRuns(runtime, shape, memory, hasOperators),
    logits,
    lengths: kv.lengths,
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
