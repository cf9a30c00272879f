// The decoder ready to run: graphs, weights, KV pool and rank pages tied together. Beside the base it runs models that
// were merged from it, on the same rows of the same pool. Knows rows, tokens and positions; knows no sequences and no
// sampling.

import type { Activations } from '../core/base-model.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import { serially } from '../core/serially.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import { operatorForm } from '../graph/operator-form.ts';
import { type GraphTarget, hostTarget, type Real } from '../graph/target.ts';
import type { Runtime } from '../runtime/session.ts';
import { PagePool } from './adapters/page-pool.ts';
import type { ResidentAdapter } from './adapters/resident-adapter.ts';
import { type Compute, createCompute } from './compute.ts';
import { createDecoderModels } from './decoder-models.ts';
import type { DeviceLogits } from './device/device-logits.ts';
import { evenForLongPrefills } from './device/even-prefills.ts';
import { inEvenSteps } from './device/even-steps.ts';
import type { ForwardBatch } from './forward-batch.ts';
import type { ForwardTop } from './forward-top.ts';
import type { KvCache } from './kv-cache.ts';
import type { MergedModel } from './merges/merged-model.ts';
import { createModelMemory } from './model-memory.ts';
import type { SessionForm } from './model-sessions.ts';
import { logitsIn } from './window.ts';
import { createWindows } from './windows.ts';

export type Decoder = {
  readonly kv: KvCache;
  readonly vocabulary: number;
  readonly pages: PagePool;
  /** Logits [sampled, vocabulary] in a buffer that the same model's next call overwrites. One call at a time. */
  forward(batch: ForwardBatch): Promise<Float32Array>;
  /**
   * The same where logits stay in a device's memory, for a decode step: what the tokens are chosen from comes back.
   * null where they do not.
   */
  readonly forwardTop: ForwardTop | null;
  /** A lone token of a prompt sums in another order than several: on a device. */
  readonly pairsTokens: boolean;
  /** Something is computed beside the steps, of what they leave of the processor. On a device nothing is. */
  readonly isWorkingAside: boolean;
  /**
   * Makes the graphs that an adapter needs, or that most do, off the event loop, so that no step waits for them.
   */
  prepare(adapter: ResidentAdapter | null): Promise<void>;
  /**
   * Makes a merged model's graphs beside the steps; they hold what is not the base's own tensor until `removeMerged`.
   * After an error nothing is held.
   */
  addMerged(model: LoweredModel): Promise<MergedModel>;
  /** No row may run on it any more. */
  removeMerged(merged: MergedModel): Promise<void>;
  release(): Promise<void>;
};

export type DecoderOptions = {
  readonly rows: number;
  readonly positions: number;
  /** Rank pages for the adapters of decoding rows; none by default. */
  readonly pages?: number;
  readonly clock?: Clock;
  /** Called when pages hold an adapter, or can be taken again. */
  readonly onPagesChange?: () => void;
  /** 'int16' decodes with the graph of prefill: nearer to floats, and slower. The host's alone. */
  readonly decodeActivations?: Activations;
  /** Of keys and values on the processor: 'float32' rounds nothing, at twice the memory. 'float16' by default. */
  readonly kvType?: Real;
  /** Of computed beginnings of prompts that no row holds, on the processor; left out: none stays. */
  readonly prefixBytes?: number;
  /** Form of the graphs, and where keys, values and pages lie: where the runtime computes, by default. */
  readonly target?: GraphTarget;
  readonly profile?: string;
};

export function createDecoder(runtime: Runtime, lowered: LoweredModel, options: DecoderOptions): Decoder {
  const { rows, pages: slots = 0, clock = systemClock, onPagesChange: onChange = () => {} } = options;
  const form = sessionForm(runtime, options);
  const { target } = form;
  const forTarget = (model: LoweredModel) => (target.on === 'device' ? operatorForm(model) : model);
  const model = forTarget(lowered);
  const { shape } = model;
  const windows = createWindows(rows);
  const forms = { ...options, target, kvType: form.kvType, clock, onGone: windows.dropPlace };
  const { kv, memory, runs, logits, lengths, release } = createModelMemory(runtime, model, forms);
  const pages = new PagePool({ memory, slots, clock, onChange });
  const models = createDecoderModels(runtime, model, {
    form,
    logits: rows * shape.vocabulary,
    ...{ onChange: kv.expectGroups, onRelease: windows.dropModel },
  });
  const aside = countedWork();

  const compute = createCompute(runtime, { layers: shape.layers, kv, runs, models, windows });
  const forward = async (batch: ForwardBatch): Promise<Float32Array> => {
    const count = batch.sampled.length * shape.vocabulary;
    const logits = batch.aside ? new Float32Array(count) : models.of(batch.merged ?? null).logits(count);
    const work = () => compute(batch, logitsIn(runtime, logits));
    await (batch.aside ? aside.during(work) : work());
    return logits;
  };
  const top = logits && topOf(logits, compute);
  return {
    kv,
    pages,
    vocabulary: shape.vocabulary,
    pairsTokens: target.on === 'device',
    get isWorkingAside() {
      return runtime.device === null && aside.count > 0;
    },
    forward: runtime.device ? evenForLongPrefills(forward, console.warn) : forward,
    forwardTop: runtime.device?.records && top && lengths ? inEvenSteps(top, lengths) : top,
    async prepare(adapter) {
      await Promise.all(runs.forms(adapter).map(([phase, form]) => models.of(null).sessions.of(phase, form)));
    },
    addMerged: (merged) => aside.during(() => models.add(forTarget(merged))),
    removeMerged: models.remove,
    async release() {
      await models.release();
      await release();
    },
  };
}

function topOf(logits: DeviceLogits, compute: Compute): ForwardTop {
  return async (batch, temperatures) => {
    await compute(batch, logits);
    return { rows: await logits.top(temperatures), whole: (rows) => logits.whole(rows, temperatures.length) };
  };
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

function targetOf({ device }: Runtime): GraphTarget {
  return device ? { on: 'device', real: device.real, hasOperators: device.hasOperators } : hostTarget;
}

function sessionForm(runtime: Runtime, options: DecoderOptions): SessionForm {
  const { positions, decodeActivations = 'int8', kvType = 'float16', profile } = options;
  const target = options.target ?? targetOf(runtime);
  return {
    positions,
    // A device rounds none: both phases are one graph.
    decodeActivations: target.on === 'device' ? 'int16' : decodeActivations,
    kvType,
    target,
    ...(profile ? { profile } : {}),
    inTurn: serially(),
  };
}
