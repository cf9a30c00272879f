// The decoder ready to run: graphs, weights, KV pool and rank pages tied together. Knows rows, tokens and positions;
// knows no sequences and no sampling.

import { LRUCache } from 'lru-cache';
import type { Activations } from '../core/base-model.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import { encodeOnnx } from '../formats/onnx.ts';
import type { AdaptersInGraph, Reach } from '../graph/adapted-linear.ts';
import { buildDecoder, decoderNames, embeddingView } from '../graph/decoder.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import { ropeTables } from '../graph/rope.ts';
import type { Runtime, Session, Tensor } from '../runtime/session.ts';
import { type AdaptedWindow, adaptedWindow, createAdaptedRuns } from './adapters/adapted-windows.ts';
import { createBreath } from './adapters/breath.ts';
import { PagePool } from './adapters/page-pool.ts';
import type { ResidentAdapter } from './adapters/resident-adapter.ts';
import type { ForwardBatch, Phase } from './forward-batch.ts';
import { createKvCache, type KvCache } from './kv-cache.ts';
import { evenForLoneRows } from './lone-row.ts';
import { createWindow } from './window.ts';

export type Decoder = {
  readonly kv: KvCache;
  readonly vocabulary: number;
  readonly pages: PagePool;
  /** Logits [sampled, vocabulary] in a buffer that the next call overwrites. One call at a time. */
  forward(batch: ForwardBatch): Promise<Float32Array>;
  /** Makes the graphs that adapters of this reach need, off the event loop, so that no step waits for them. */
  prepare(reach: Reach): Promise<void>;
  /** Lets go of an adapter's memory, which bindings may still hold. */
  forget(adapter: ResidentAdapter): void;
  release(): Promise<void>;
};

/** Bindings kept: all batch sizes of the default slot count and the rows that prefill beside them. */
const windowsMax = 64;

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
  const sessions = createSessions(runtime, model, options);
  const windows = new LRUCache<string, AdaptedWindow>({ max: windowsMax, dispose: (window) => window.release() });
  let logits = new Float32Array(rows * shape.vocabulary);

  const forward = async (batch: ForwardBatch): Promise<Float32Array> => {
    const { phase, first, pasts, adapters = [] } = batch;
    const run = phase === 'prefill' ? runs.one(adapters[0] ?? null) : runs.mixed(adapters);
    const session = await sessions.of(phase, run.form);
    const key = `${phase} ${first}+${pasts.length} ${graphKey(run.form)} ${run.key}`;
    let window = windows.get(key);
    if (!window) {
      window = adaptedWindow(createWindow(runtime, session, kv, shape.layers, batch));
      windows.set(key, window);
    }
    const wanted = batch.sampled.length * shape.vocabulary;
    if (logits.length < wanted) logits = new Float32Array(wanted);
    window.fill(batch, logits.subarray(0, wanted));
    run.prepare(window);
    await session.run(window.binding);
    return logits.subarray(0, wanted);
  };

  return {
    kv,
    pages,
    vocabulary: shape.vocabulary,
    forward: batchInvariant && decodeActivations === 'int8' && rows > 1 ? evenForLoneRows(forward, pagesRead) : forward,
    forget(adapter) {
      for (const [key, { one }] of [...windows]) if (one?.adapter === adapter) windows.delete(key);
    },
    async prepare(reach) {
      const forms = [
        ['prefill', 'one'],
        ['decode', 'mixed'],
      ] as const;
      await Promise.all(forms.map(([phase, form]) => sessions.of(phase, { form, reach })));
    },
    async release() {
      windows.clear();
      await sessions.release();
    },
  };
}

const graphKey = (adapters: AdaptersInGraph) =>
  adapters.form === 'none' ? 'none' : `${adapters.form} ${adapters.reach}`;

/** How many pages of each linear a lone row reads: the number decides how its products are summed. */
const pagesRead = ({ adapters: [row] = [] }: ForwardBatch): string =>
  [...(row?.placement.ranges ?? [])].map(([linear, { pages }]) => `${linear} ${pages}`).join();

/** Graphs by phase and by what they do for adapters; all share one set of weights. */
function createSessions(runtime: Runtime, model: LoweredModel, options: DecoderOptions) {
  const { positions, decodeActivations = 'int8', profile } = options;
  const weights = weightTensors(runtime, model, positions);
  const sessions = new Map<string, Promise<Session>>();
  let last: Promise<unknown> = Promise.resolve();
  return {
    of(phase: Phase, adapters: AdaptersInGraph): Promise<Session> {
      const activations = phase === 'prefill' ? 'float32' : decodeActivations;
      const key = `${activations} ${graphKey(adapters)}`;
      let session = sessions.get(key);
      if (!session) {
        // One after another: each packs all weights anew before it finds that another has them.
        session = last.then(() => {
          const graph = buildDecoder(model, { positions, activations, adapters });
          return runtime.session(encodeOnnx(graph), { weights, ...(profile ? { profile } : {}) });
        });
        last = session.catch(() => {});
        sessions.set(key, session);
        // What failed once, for want of memory perhaps, is tried again by the next who needs it.
        session.catch(() => sessions.delete(key));
      }
      return session;
    },
    async release() {
      for (const session of await Promise.all(sessions.values())) session.release();
      for (const tensor of weights.values()) tensor.release();
    },
  };
}

function weightTensors(runtime: Runtime, model: LoweredModel, positions: number): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [name, { data, shape }] of model.weights) tensors.set(name, runtime.tensor(data, shape));
  const { cos, sin } = ropeTables(model.shape, positions);
  const tableShape = [positions, model.shape.headDim / 2];
  tensors.set(decoderNames.cos, runtime.tensor(cos, tableShape));
  tensors.set(decoderNames.sin, runtime.tensor(sin, tableShape));
  if (!model.weights.has('embedding') && !model.weights.has(embeddingView.blocks)) {
    const { vocabulary, hidden } = model.shape;
    const blocks = model.weights.get('head.blocks')!.data;
    const scales = model.weights.get('head.scales')!.data;
    tensors.set(embeddingView.blocks, runtime.tensor(blocks, [vocabulary, hidden]));
    tensors.set(embeddingView.scales, runtime.tensor(scales, [vocabulary, hidden / 32]));
  }
  return tensors;
}
