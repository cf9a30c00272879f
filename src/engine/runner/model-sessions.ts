// A lowered model ready to run: its weights as tensors, and its graphs as sessions, each made when it is first needed.
// A merged model takes the base's tensors for the weights that both share, so that the runtime holds and packs those
// once. Knows no rows.

import { toBfloat16 } from '../../core/bfloat16.ts';
import { encodeOnnx } from '../../formats/onnx.ts';
import type { AdaptersInGraph, DecoderResult } from '../../graph/adapted-linear.ts';
import { buildDecoder, embeddingView } from '../../graph/decoder.ts';
import type { LoweredModel, LoweredTensor } from '../../graph/lowered.ts';
import { ropeTables, rotaryPairs, tableNames, tablesOf } from '../../graph/rope.ts';
import type { GraphTarget, HostReal, Real } from '../../graph/target.ts';
import type { Runtime, Session, Tensor, TensorData } from '../../runtime/session.ts';

/** Tensors by initialiser name. */
export type ModelWeights = {
  /** The base's weights, which are packed once for all sessions and stay for good. */
  readonly shared: ReadonlyMap<string, Tensor>;
  /** A merged model's own weights, which each of its sessions packs and which are released with them. */
  readonly own: ReadonlyMap<string, Tensor>;
};

export type ModelSessions = {
  of(adapters: AdaptersInGraph, options?: SessionOptions): Promise<Session>;
  /** Waits for sessions that are being made; also releases the model's own weights. */
  release(): Promise<void>;
};

export type SessionOptions = {
  /** Logits by default. */
  readonly result?: DecoderResult;
  /** Whether some rows have embeddings of their own; false by default. */
  readonly given?: boolean;
  /** If the session has to be made: whether no step waits for it, so that others run meanwhile. */
  readonly aside?: boolean;
};

export type SessionForm = {
  readonly positions: number;
  readonly kvType: HostReal;
  readonly target: GraphTarget;
  readonly profile?: string;
  /** Makes sessions one after another: two at once would both pack all weights before one finds the other's. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
};

export function createModelSessions(
  runtime: Runtime,
  model: LoweredModel,
  { shared, own }: ModelWeights,
  { positions, kvType, target, profile, inTurn }: SessionForm,
): ModelSessions {
  const sessions = new Map<string, Promise<Session>>();
  return {
    of(adapters, { result = 'logits', given = false, aside = false } = {}) {
      const key = graphKey(adapters, result, given);
      let session = sessions.get(key);
      if (!session) {
        session = inTurn(() => {
          const graph = buildDecoder(model, { positions, adapters, kvType, target, result, given });
          return runtime.session(encodeOnnx(graph), { weights: shared, own, aside, ...(profile ? { profile } : {}) });
        });
        sessions.set(key, session);
        // A session that could not be made, perhaps for want of memory, is tried again when it is next needed.
        session.catch(() => sessions.delete(key));
      }
      return session;
    },
    async release() {
      for (const made of await Promise.allSettled(sessions.values())) {
        if (made.status === 'fulfilled') made.value.release();
      }
      for (const tensor of own.values()) tensor.release();
    },
  };
}

export const graphKey = (adapters: AdaptersInGraph, result: DecoderResult, given = false): string =>
  [...Object.values(adapters), result, ...(given ? ['given'] : [])].join(' ');

export function baseWeights(
  runtime: Runtime,
  model: LoweredModel,
  { positions, target: { on, real, hasOperators = false } }: Pick<SessionForm, 'positions' | 'target'>,
): ModelWeights {
  const shared = new Map([...model.weights].map(([name, weight]) => [name, tensorOf(runtime, weight, real)]));
  for (const table of tablesOf(model.shape)) {
    const { cos, sin } = ropeTables(model.shape, positions, table);
    const tableShape = [positions, rotaryPairs(model.shape)];
    shared.set(tableNames[table].cos, runtime.tensor(inReal(cos, real), tableShape));
    shared.set(tableNames[table].sin, runtime.tensor(inReal(sin, real), tableShape));
  }
  const isGathered = on === 'device' && !hasOperators;
  if (isGathered && !model.weights.has('embedding') && !model.weights.has(embeddingView.blocks)) {
    const { vocabulary, hidden } = model.shape;
    const blocks = model.weights.get('head.blocks')!.data;
    const scales = inReal(model.weights.get('head.scales')!.data, real);
    shared.set(embeddingView.blocks, runtime.tensor(blocks, [vocabulary, hidden]));
    shared.set(embeddingView.scales, runtime.tensor(scales, [vocabulary, hidden / 32]));
  }
  return { shared, own: new Map() };
}

/**
 * @param merged untouched weights are the same objects as in `base`. The embedding is always the base's, even where the
 * head that it is tied to is merged.
 */
export function mergedWeights(
  runtime: Runtime,
  merged: LoweredModel,
  base: LoweredModel,
  { shared: baseTensors }: ModelWeights,
  real: Real,
): ModelWeights {
  const isShared = (name: string) => !base.weights.has(name) || merged.weights.get(name) === base.weights.get(name);
  const shared = new Map([...baseTensors].filter(([name]) => isShared(name)));
  // Also finds a base tensor under another name: the embedding is the base's head.
  const names = new Map([...base.weights].map(([name, weight]) => [weight, name]));
  for (const [name, weight] of merged.weights) {
    const known = baseTensors.get(names.get(weight) ?? '');
    if (known && !shared.has(name)) shared.set(name, known);
  }
  const own = [...merged.weights].filter(([name]) => !shared.has(name));
  return { shared, own: new Map(own.map(([name, weight]) => [name, tensorOf(runtime, weight, real)])) };
}

const tensorOf = (runtime: Runtime, { data, shape }: LoweredTensor, real: Real) =>
  runtime.tensor(inReal(data, real), shape);

function inReal(data: TensorData, real: Real): TensorData {
  if (!(data instanceof Float32Array) || real === 'float32') return data;
  return real === 'float16' ? new Float16Array(data) : toBfloat16(data);
}
