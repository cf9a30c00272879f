// The decoder ready to run: graphs, weights, KV pool and rank pages tied together. Beside the base it runs models that
// were merged from it, on the same rows of the same pool. Knows rows, tokens and positions; knows no sequences and no
// sampling.

import type { Activations } from '../core/base-model.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import { serially } from '../core/serially.ts';
import type { Reach } from '../graph/adapted-linear.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import { type GraphTarget, hostTarget } from '../graph/target.ts';
import type { Runtime } from '../runtime/session.ts';
import { PagePool } from './adapters/page-pool.ts';
import type { ResidentAdapter } from './adapters/resident-adapter.ts';
import { type Compute, createCompute } from './compute.ts';
import { createDecoderModels } from './decoder-models.ts';
import type { DeviceLogits } from './device/device-logits.ts';
import { evenForLongPrefills } from './device/even-prefills.ts';
import type { TopLogits } from './draw-top.ts';
import type { ForwardBatch } from './forward-batch.ts';
import type { KvCache } from './kv-cache.ts';
import { evenForLoneRows } from './lone-row.ts';
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
  /** Something is computed beside the steps, of what they leave of the processor. On a device nothing is. */
  readonly isWorkingAside: boolean;
  /** Makes the graphs that adapters of this reach need, off the event loop, so that no step waits for them. */
  prepare(reach: Reach): Promise<void>;
  /** Lets go of an adapter's memory, which bindings may still hold. */
  forget(adapter: ResidentAdapter): void;
  /**
   * Makes a merged model's graphs beside the steps; they hold what is not the base's own tensor until `removeMerged`.
   * After an error nothing is held.
   */
  addMerged(model: LoweredModel): Promise<MergedModel>;
  /** No row may run on it any more. */
  removeMerged(merged: MergedModel): Promise<void>;
  release(): Promise<void>;
};

/** @param temperatures of the sampled rows */
export type ForwardTop = (batch: ForwardBatch, temperatures: readonly number[]) => Promise<TopRows>;

export type TopRows = {
  readonly rows: readonly TopLogits[];
  /** Rows by number, each [vocabulary]; before the next call. */
  whole(rows: readonly number[]): Promise<Float32Array[]>;
};

export type DecoderOptions = {
  readonly rows: number;
  readonly positions: number;
  /** Rank pages for the adapters of decoding rows; none by default. */
  readonly pages?: number;
  readonly clock?: Clock;
  /** Called when pages hold an adapter, or can be taken again. */
  readonly onPagesChange?: () => void;
  /** 'float32' decodes with the graph of prefill: slower, and the same whatever else is in the batch. */
  readonly decodeActivations?: Activations;
  /** Steps with 8-bit activations compute a row alone as they do in a batch; true by default. */
  readonly batchInvariant?: boolean;
  /** Form of the graphs, and where keys, values and pages lie: where the runtime computes, by default. */
  readonly target?: GraphTarget;
  readonly profile?: string;
};

export function createDecoder(runtime: Runtime, model: LoweredModel, options: DecoderOptions): Decoder {
  const { rows, pages: slots = 0, clock = systemClock, onPagesChange: onChange = () => {} } = options;
  const { shape } = model;
  const form = sessionForm(runtime, options);
  const { target } = form;
  const windows = createWindows();
  const forms = { ...options, target, clock, onGone: windows.dropPlace };
  const { kv, memory, runs, logits, release } = createModelMemory(runtime, model, forms);
  const pages = new PagePool({ memory, slots, clock, onChange });
  const models = createDecoderModels(runtime, model, {
    form,
    logits: rows * shape.vocabulary,
    ...{ onChange: kv.expectGroups, onRelease: windows.dropModel },
  });
  const aside = countedWork();

  const compute = createCompute(runtime, { layers: shape.layers, target, kv, runs, models, windows });
  const forward = async (batch: ForwardBatch): Promise<Float32Array> => {
    const count = batch.sampled.length * shape.vocabulary;
    const logits = batch.aside ? new Float32Array(count) : models.of(batch.merged ?? null).logits(count);
    const work = () => compute(batch, logitsIn(runtime, logits));
    await (batch.aside ? aside.during(work) : work());
    return logits;
  };
  const even = (run: typeof forward) => {
    if (runtime.device) return evenForLongPrefills(run, console.warn);
    return roundsLoneRows(form, options) ? evenForLoneRows(run, kernelsOf) : run;
  };

  return {
    kv,
    pages,
    vocabulary: shape.vocabulary,
    get isWorkingAside() {
      return runtime.device === null && aside.count > 0;
    },
    forward: even(forward),
    forwardTop: logits && topOf(logits, compute),
    forget: windows.dropAdapter,
    async prepare(reach) {
      const forms = [
        ['prefill', 'one'],
        ['decode', 'mixed'],
      ] as const;
      await Promise.all(forms.map(([phase, form]) => models.of(null).sessions.of(phase, { form, reach })));
    },
    addMerged: (model) => aside.during(() => models.add(model)),
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

function sessionForm(runtime: Runtime, options: DecoderOptions): SessionForm {
  const { positions, decodeActivations = 'int8', profile } = options;
  const target = options.target ?? targetOf(runtime);
  return {
    positions,
    // A device multiplies floats as fast.
    decodeActivations: target.on === 'device' ? 'float32' : decodeActivations,
    target,
    ...(profile ? { profile } : {}),
    inTurn: serially(),
  };
}

function targetOf({ device }: Runtime): GraphTarget {
  return device ? { on: 'device', real: device.real, hasOperators: device.hasOperators } : hostTarget;
}

/** A lone row would be rounded otherwise than beside others. */
const roundsLoneRows = ({ decodeActivations }: SessionForm, { batchInvariant = true, rows }: DecoderOptions) =>
  batchInvariant && decodeActivations === 'int8' && rows > 1;

/** What decides how a lone row sums: the model's kernels, and how many pages of each linear the row reads. */
const kernelsOf = ({ merged, adapters: [row] = [] }: ForwardBatch): string =>
  merged?.kernels ?? [...(row?.placement.ranges ?? [])].map(([linear, { pages }]) => `${linear} ${pages}`).join();
