// The decoder ready to run: graphs, weights, KV pool and rank pages tied together. Beside the base it runs models that
// were merged from it, on the same rows of the same pool. Knows rows, tokens and positions; knows no sequences and no
// sampling.

import { LRUCache } from 'lru-cache';
import type { Activations } from '../core/base-model.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import type { Reach } from '../graph/adapted-linear.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import type { Runtime } from '../runtime/session.ts';
import { type AdaptedWindow, adaptedWindow, createAdaptedRuns } from './adapters/adapted-windows.ts';
import { createBreath } from './adapters/breath.ts';
import { PagePool } from './adapters/page-pool.ts';
import type { ResidentAdapter } from './adapters/resident-adapter.ts';
import { createDecoderModels } from './decoder-models.ts';
import type { ForwardBatch } from './forward-batch.ts';
import { createKvCache, type KvCache } from './kv-cache.ts';
import { evenForLoneRows } from './lone-row.ts';
import type { MergedModel } from './merges/merged-model.ts';
import { graphKey, type SessionForm } from './model-sessions.ts';
import { createWindow } from './window.ts';

export type Decoder = {
  readonly kv: KvCache;
  readonly vocabulary: number;
  readonly pages: PagePool;
  /** Logits [sampled, vocabulary] in a buffer that the same model's next call overwrites. One call at a time. */
  forward(batch: ForwardBatch): Promise<Float32Array>;
  /** Makes the graphs that adapters of this reach need, off the event loop, so that no step waits for them. */
  prepare(reach: Reach): Promise<void>;
  /** Lets go of an adapter's memory, which bindings may still hold. */
  forget(adapter: ResidentAdapter): void;
  /**
   * Makes a merged model's graphs, off the event loop; they hold what is not the base's own tensor until
   * `removeMerged`. After an error nothing is held.
   */
  addMerged(model: LoweredModel): Promise<MergedModel>;
  /** No row may run on it any more. */
  removeMerged(merged: MergedModel): Promise<void>;
  release(): Promise<void>;
};

/**
 * Bindings kept: all batch sizes of the default slot count and the rows that prefill beside them, of the base and of a
 * few merged models, whose rows begin anywhere.
 */
const windowsMax = 128;

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
  readonly profile?: string;
};

export function createDecoder(runtime: Runtime, model: LoweredModel, options: DecoderOptions): Decoder {
  const { rows, positions, pages: slots = 0, clock = systemClock, onPagesChange: onChange = () => {} } = options;
  const { decodeActivations = 'int8', batchInvariant = true } = options;
  const { shape } = model;
  const kv = createKvCache(shape, rows, positions);
  const pages = new PagePool({ shape, slots, clock, onChange, breath: createBreath(clock) });
  const runs = createAdaptedRuns(runtime, shape, rows, pages);
  const windows = new LRUCache<string, AdaptedWindow>({ max: windowsMax, dispose: (window) => window.release() });

  const models = createDecoderModels(runtime, model, {
    form: sessionForm(options),
    logits: rows * shape.vocabulary,
    onRelease(id) {
      for (const key of [...windows.keys()]) if (key.startsWith(`${id} `)) windows.delete(key);
    },
  });

  const forward = async (batch: ForwardBatch): Promise<Float32Array> => {
    const { phase, first, pasts, adapters = [], merged = null } = batch;
    const on = models.of(merged);
    const run = phase === 'prefill' ? runs.one(adapters[0] ?? null) : runs.mixed(adapters);
    const session = await on.sessions.of(phase, run.form);
    const key = `${on.id} ${phase} ${first}+${pasts.length} ${graphKey(run.form)} ${run.key}`;
    let window = windows.get(key);
    if (!window) {
      window = adaptedWindow(createWindow(runtime, session, kv, shape.layers, batch));
      windows.set(key, window);
    }
    const logits = on.logits(batch.sampled.length * shape.vocabulary);
    window.fill(batch, logits);
    run.prepare(window);
    await session.run(window.binding);
    return logits;
  };
  return {
    kv,
    pages,
    vocabulary: shape.vocabulary,
    forward: batchInvariant && decodeActivations === 'int8' && rows > 1 ? evenForLoneRows(forward, kernelsOf) : forward,
    forget(adapter) {
      for (const [key, { one }] of [...windows]) if (one?.adapter === adapter) windows.delete(key);
    },
    async prepare(reach) {
      const forms = [
        ['prefill', 'one'],
        ['decode', 'mixed'],
      ] as const;
      await Promise.all(forms.map(([phase, form]) => models.of(null).sessions.of(phase, { form, reach })));
    },
    addMerged: models.add,
    removeMerged: models.remove,
    release: models.release,
  };
}

function sessionForm({ positions, decodeActivations = 'int8', profile }: DecoderOptions): SessionForm {
  let last: Promise<unknown> = Promise.resolve();
  return {
    positions,
    decodeActivations,
    ...(profile ? { profile } : {}),
    inTurn(work) {
      const done = last.then(work);
      last = done.catch(() => {});
      return done;
    },
  };
}

/** What decides how a lone row sums: the model's kernels, and how many pages of each linear the row reads. */
const kernelsOf = ({ merged, adapters: [row] = [] }: ForwardBatch): string =>
  merged?.kernels ?? [...(row?.placement.ranges ?? [])].map(([linear, { pages }]) => `${linear} ${pages}`).join();
