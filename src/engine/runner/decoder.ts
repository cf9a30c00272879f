// The decoder, ready to run: graphs, weights, KV cache and rank pages together. Beside the base it runs models merged
// from it, on rows of the same cache. Knows rows, tokens and positions; knows no sequences and no sampling.

import type { Activations } from '../../core/base-model.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { AdapterBits } from '../../core/page-sizes.ts';
import { serially } from '../../core/serially.ts';
import { cardForm } from '../../graph/card-form.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import { operatorForm } from '../../graph/operator-form.ts';
import type { GraphTarget, HostReal } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { PagePool } from '../adapters/page-pool.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { KvCache } from '../kv/kv-cache.ts';
import type { Compute } from './compute.ts';
import { createDecoderModels } from './decoder-models.ts';
import { targetOf } from './device-target.ts';
import type { MergedModel } from './merged-model.ts';
import { createModelMemory } from './model-memory.ts';
import type { SessionForm } from './model-sessions.ts';

export type Decoder = {
  readonly kv: KvCache;
  readonly vocabulary: number;
  readonly pages: PagePool;
  /** One call of `forward` or `logitsOf` at a time. */
  readonly forward: Compute['forward'];
  readonly logitsOf: Compute['logitsOf'];
  /** Whether a merge computes beside the steps, in the processor's time that they leave; always false on a device. */
  readonly isWorkingAside: boolean;
  /**
   * Makes the graphs that an adapter needs, or for null those that most need, off the event loop, so that no step waits
   * for them.
   */
  prepare(adapter: ResidentAdapter | null): Promise<void>;
  /**
   * Makes a merged model's graphs beside the steps. They hold the weights that are not the base's until `removeMerged`.
   * Holds nothing after an error.
   * @param embedding what the merge's adapters add to rows of the embedding; nothing by default
   */
  addMerged(model: LoweredModel, embedding?: MergedModel['embedding']): Promise<MergedModel>;
  /** Releases a merged model, on which no row may run any more. */
  removeMerged(merged: MergedModel): Promise<void>;
  release(): Promise<void>;
};

export type DecoderOptions = {
  readonly rows: number;
  readonly positions: number;
  /** Rank pages for adapters; none by default. */
  readonly pages?: number;
  /** Bits of adapters' values in pages on the processor; 16 by default. */
  readonly adapterBits?: AdapterBits;
  readonly clock?: Clock;
  /** Called when pages hold an adapter that was being copied to them, and can be taken if no row uses them. */
  readonly onPagesChange?: () => void;
  /**
   * Activations of answers on the host; 'int16' rounds them as prompts are rounded: nearer to floats, and slower.
   * 'int8' by default.
   */
  readonly decodeActivations?: Activations;
  /**
   * Element type of the KV cache on the processor; 'float32' rounds nothing and takes twice the memory. 'float16' by
   * default.
   */
  readonly kvType?: HostReal;
  /** Bytes for what rows hold, in caches of blocks; a whole context for each row by default. */
  readonly kvBytes?: number;
  /** Bytes for prefixes that no row holds, in caches of blocks; none by default. */
  readonly prefixBytes?: number;
  /** Form of the graphs, and where the KV cache and pages lie; by default where the runtime computes. */
  readonly target?: GraphTarget;
  readonly profile?: string;
};

export function createDecoder(runtime: Runtime, lowered: LoweredModel, options: DecoderOptions): Decoder {
  const { rows, pages: slots = 0, clock = systemClock, onPagesChange: onChange = () => {} } = options;
  const form = sessionForm(runtime, lowered, options);
  const { target } = form;
  const forTarget = (model: LoweredModel) => inPackingOf(target, model);
  const model = forTarget(lowered);
  const { shape } = model;
  const activations = { prompt: 'int16', answer: options.decodeActivations ?? 'int8' } as const;
  const memory = createModelMemory(runtime, model, { ...options, target, kvType: form.kvType, activations, clock });
  const { kv } = memory;
  const pages = new PagePool({ memory: memory.memory, slots, clock, onChange });
  const models = createDecoderModels(runtime, model, {
    form,
    logits: rows * shape.vocabulary,
    ...{ onChange: kv.expectGroups, onRelease: (id) => compute.dropModel(id) },
  });
  const compute = memory.computeOver(models);
  const aside = countedWork();
  return {
    kv,
    pages,
    vocabulary: shape.vocabulary,
    get isWorkingAside() {
      return runtime.device === null && aside.count > 0;
    },
    forward: (batch) => (batch.aside ? aside.during(() => compute.forward(batch)) : compute.forward(batch)),
    logitsOf: compute.logitsOf,
    async prepare(adapter) {
      const given = adapter?.virtual?.kind === 'embeddings' || (adapter?.embedding ?? []).length > 0;
      await Promise.all(memory.formsOf(adapter).map((form) => models.of(null).sessions.of(form, { given })));
    },
    addMerged: (merged, embedding = []) => aside.during(() => models.add(forTarget(merged), embedding)),
    removeMerged: models.remove,
    async release() {
      await models.release();
      await memory.release();
    },
  };
}

function inPackingOf({ on, hasOperators }: GraphTarget, model: LoweredModel): LoweredModel {
  if (on === 'host') return model;
  return hasOperators ? cardForm(model) : operatorForm(model);
}

function countedWork() {
  let count = 0;
  return {
    get count() {
      return count;
    },
    async during<T>(work: () => Promise<T>): Promise<T> {
      count++;
      try {
        return await work();
      } finally {
        count--;
      }
    },
  };
}

function sessionForm(runtime: Runtime, { shape }: LoweredModel, options: DecoderOptions): SessionForm {
  const { positions, kvType = 'float16', profile } = options;
  const target = options.target ?? targetOf(runtime, shape);
  return {
    positions,
    kvType,
    target,
    ...(profile ? { profile } : {}),
    inTurn: serially(),
  };
}
