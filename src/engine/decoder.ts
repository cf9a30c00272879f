// The decoder ready to run: graph, weights and KV pool tied together. Knows rows, tokens and positions; knows no
// sequences and no sampling.

import { LRUCache } from 'lru-cache';
import type { Activations } from '../core/base-model.ts';
import { encodeOnnx } from '../formats/onnx.ts';
import { buildDecoder, decoderNames, embeddingView } from '../graph/decoder.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import { ropeTables } from '../graph/rope.ts';
import type { Binding, Runtime, Session, Tensor } from '../runtime/session.ts';
import { createKvCache, type KvCache } from './kv-cache.ts';

/** Neighbouring KV rows [first, first + pasts.length), each with the same number of new tokens. */
export type ForwardBatch = {
  /** Prompts go through a graph that does not round activations: their keys and values are read by every later step. */
  readonly phase: 'prefill' | 'decode';
  readonly first: number;
  /** Tokens that each row holds already. */
  readonly pasts: readonly number[];
  /** Row-major [rows, new tokens]. */
  readonly tokens: readonly number[];
  /** Which of `tokens`, by index, to give the next token's logits for. */
  readonly sampled: readonly number[];
};

export type Decoder = {
  readonly kv: KvCache;
  readonly vocabulary: number;
  /** Logits [sampled, vocabulary] in a buffer that the next call overwrites. One call at a time. */
  forward(batch: ForwardBatch): Promise<Float32Array>;
  release(): void;
};

/** Bindings kept: all batch sizes of the default slot count and the rows that prefill beside them. */
const windowsMax = 64;

export type DecoderOptions = {
  readonly rows: number;
  readonly positions: number;
  /** 'float32' decodes with the graph of prefill: slower, and the same whatever else is in the batch. */
  readonly decodeActivations?: Activations;
  readonly profile?: string;
};

export function createDecoder(runtime: Runtime, model: LoweredModel, options: DecoderOptions): Decoder {
  const { rows, positions, decodeActivations = 'int8', profile } = options;
  const { shape } = model;
  const kv = createKvCache(shape, rows, positions);
  const weights = weightTensors(runtime, model, positions);
  const session = (activations: Activations) =>
    runtime.session(encodeOnnx(buildDecoder(model, positions, activations)), {
      weights,
      ...(profile ? { profile } : {}),
    });
  const prefill = session('float32');
  const sessions = { prefill, decode: decodeActivations === 'float32' ? prefill : session(decodeActivations) };
  const windows = new LRUCache<string, Window>({ max: windowsMax, dispose: (window) => window.release() });
  let logits = new Float32Array(rows * shape.vocabulary);

  return {
    kv,
    vocabulary: shape.vocabulary,
    async forward(batch) {
      const key = `${batch.phase} ${batch.first}+${batch.pasts.length}`;
      let window = windows.get(key);
      if (!window) {
        window = createWindow(runtime, sessions[batch.phase], kv, shape.layers, batch);
        windows.set(key, window);
      }
      const wanted = batch.sampled.length * shape.vocabulary;
      if (logits.length < wanted) logits = new Float32Array(wanted);
      window.fill(batch, logits.subarray(0, wanted));
      await sessions[batch.phase].run(window.binding);
      return logits.subarray(0, wanted);
    },
    release() {
      windows.clear();
      for (const session of new Set(Object.values(sessions))) session.release();
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
  if (!model.weights.has('embedding')) {
    const { vocabulary, hidden } = model.shape;
    const blocks = model.weights.get('head.blocks')!.data;
    const scales = model.weights.get('head.scales')!.data;
    tensors.set(embeddingView.blocks, runtime.tensor(blocks, [vocabulary, hidden]));
    tensors.set(embeddingView.scales, runtime.tensor(scales, [vocabulary, hidden / 32]));
  }
  return tensors;
}

/** A binding over one range of KV rows. The pool is tied once; in steady state a decode step binds nothing at all. */
type Window = {
  readonly binding: Binding;
  fill(batch: ForwardBatch, logits: Float32Array): void;
  release(): void;
};

function createWindow(
  runtime: Runtime,
  session: Session,
  kv: KvCache,
  layers: number,
  { first, pasts }: ForwardBatch,
): Window {
  const binding = session.bind();
  const count = pasts.length;
  const pools: Tensor[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, data] of [
      [decoderNames.key(layer), kv.keys(layer, first, count)],
      [decoderNames.value(layer), kv.values(layer, first, count)],
    ] as const) {
      const tensor = runtime.tensor(data, kv.windowShape(count));
      binding.input(name, tensor);
      binding.output(decoderNames.present(name), tensor);
      pools.push(tensor);
    }
  }
  const lastPositions = new Int32Array(count);
  const totalLength = new Int32Array(1);
  const batchShape = new BigInt64Array(3);
  const rowTensors = [lastPositions, totalLength, batchShape].map((data) => runtime.tensor(data, [data.length]));
  for (const [i, name] of (['lastPositions', 'totalLength', 'batchShape'] as const).entries()) {
    binding.input(decoderNames[name], rowTensors[i]!);
  }
  let stepTensors: StepTensors | null = null;

  return {
    binding,
    fill({ pasts, tokens, sampled }, logits) {
      const length = tokens.length / count;
      if (!stepTensors?.fits(tokens.length, sampled.length, logits)) {
        stepTensors?.release();
        stepTensors = bindStep(runtime, binding, tokens.length, sampled.length, logits);
        batchShape.set([BigInt(count), BigInt(length), -1n]);
      }
      for (let i = 0; i < count; i++) lastPositions[i] = pasts[i]! + length - 1;
      totalLength[0] = Math.max(...pasts) + length;
      stepTensors.set(tokens, sampled);
    },
    release() {
      stepTensors?.release();
      for (const tensor of [...pools, ...rowTensors]) tensor.release();
      binding.release();
    },
  };
}

/** The tensors whose shape follows the numbers of new tokens and of sampled ones. */
type StepTensors = ReturnType<typeof bindStep>;

function bindStep(runtime: Runtime, binding: Binding, tokens: number, sampled: number, logits: Float32Array) {
  const ids = new BigInt64Array(tokens);
  const rows = new BigInt64Array(sampled);
  const idTensor = runtime.tensor(ids, [tokens]);
  const rowTensor = runtime.tensor(rows, [sampled]);
  const logitTensor = runtime.tensor(logits, [sampled, logits.length / sampled]);
  binding.input(decoderNames.tokens, idTensor);
  binding.input(decoderNames.sampled, rowTensor);
  binding.output(decoderNames.logits, logitTensor);
  return {
    fits: (tokenCount: number, sampledCount: number, buffer: Float32Array) =>
      tokenCount === tokens && sampledCount === sampled && buffer.buffer === logits.buffer,
    set(newTokens: readonly number[], newRows: readonly number[]) {
      for (let i = 0; i < tokens; i++) ids[i] = BigInt(newTokens[i]!);
      for (let i = 0; i < sampled; i++) rows[i] = BigInt(newRows[i]!);
    },
    release() {
      for (const tensor of [idTensor, rowTensor, logitTensor]) tensor.release();
    },
  };
}
