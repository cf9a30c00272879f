// A binding over keys and values: the pool is tied once, and in steady state a decode step binds nothing at all.

import { decoderNames, kvBlock } from '../graph/decoder.ts';
import type { Binding, Runtime, Session, Tensor } from '../runtime/session.ts';
import type { ForwardBatch } from './forward-batch.ts';
import type { KvRange } from './kv-cache.ts';

/** Tokens that a recorded step's attention makes room for, at least: rooms are few, and this one costs nothing. */
const roomMin = 256;

/** Where a run leaves its logits. */
export type LogitsPlace = {
  /** What is bound stays bound while this is the same. */
  readonly memory: unknown;
  /** It is always the same memory of the device's. */
  readonly stays: boolean;
  view(rows: number): Tensor;
};

export type Window = {
  readonly binding: Binding;
  /** @param blocks as the range that it was made over has them now */
  fill(batch: ForwardBatch, logits: LogitsPlace, blocks: KvRange['blocks']): void;
  release(): void;
};

export function createWindow(
  runtime: Runtime,
  session: Session,
  kv: KvRange,
  { layers, positions }: { readonly layers: number; readonly positions: number },
  { pasts }: Pick<ForwardBatch, 'pasts'>,
): Window {
  const binding = session.bind();
  const count = pasts.length;
  const pools: Tensor[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, tensor] of [
      [decoderNames.key(layer), kv.key(layer)],
      [decoderNames.value(layer), kv.value(layer)],
    ] as const) {
      binding.input(name, tensor);
      if (kv.blocks === null) binding.output(decoderNames.present(name), tensor);
      pools.push(tensor);
    }
  }
  const lengths =
    kv.blocks === null ? tieRows(runtime, binding, count, positions) : tieBlocks(runtime, binding, count, positions);
  let stepTensors: StepTensors | null = null;

  return {
    binding,
    fill({ pasts, tokens, sampled }, logits, blocks) {
      if (!stepTensors?.fits(tokens.length, sampled.length, logits.memory)) {
        stepTensors?.release();
        stepTensors = bindStep(runtime, binding, tokens.length, sampled.length, logits);
      }
      lengths.set(pasts, tokens.length / count, blocks);
      stepTensors.set(tokens, sampled);
    },
    release() {
      stepTensors?.release();
      for (const tensor of [...pools, ...lengths.tensors]) tensor.release();
      binding.release();
    },
  };
}

/** What says how long sequences are, and where they lie. */
type Lengths = {
  readonly tensors: readonly Tensor[];
  /** @param added new tokens of each */
  set(pasts: readonly number[], added: number, blocks: KvRange['blocks']): void;
};

function tieBlocks(runtime: Runtime, binding: Binding, count: number, positions: number): Lengths {
  const most = Math.ceil(positions / kvBlock);
  const cumulative = new Int32Array(count + 1);
  const past = new Int32Array(count);
  const table = new Int32Array(count * most);
  const tensors = [
    runtime.tensor(cumulative, [count + 1]),
    runtime.tensor(past, [count]),
    runtime.tensor(table, [count, most]),
  ];
  const names = [decoderNames.cumulative, decoderNames.past, decoderNames.table];
  for (const [i, name] of names.entries()) binding.input(name, tensors[i]!);
  return {
    tensors,
    set(pasts, added, blocks) {
      past.set(pasts);
      for (let i = 0; i < count; i++) {
        cumulative[i + 1] = (i + 1) * added;
        table.set(blocks![i]!, i * most);
      }
    },
  };
}

function tieRows(runtime: Runtime, binding: Binding, count: number, positions: number): Lengths {
  const lastPositions = new Int32Array(count);
  const totalLength = new Int32Array(1);
  const batchShape = new BigInt64Array(3);
  const tensors = [lastPositions, totalLength, batchShape].map((data) => runtime.tensor(data, [data.length]));
  for (const [i, name] of (['lastPositions', 'totalLength', 'batchShape'] as const).entries()) {
    binding.input(decoderNames[name], tensors[i]!, name === 'lastPositions' ? undefined : 'host');
  }
  // A recorded step says what attention makes room for, which is a length that few steps change.
  const roomFor = (total: number, added: number) =>
    added === 1 && runtime.device?.hasOperators
      ? Math.min(positions, Math.max(roomMin, 2 ** Math.ceil(Math.log2(total))))
      : total;
  return {
    tensors,
    set(pasts, added) {
      batchShape.set([BigInt(count), BigInt(added), -1n]);
      for (let i = 0; i < count; i++) lastPositions[i] = pasts[i]! + added - 1;
      totalLength[0] = roomFor(Math.max(...pasts) + added, added);
    },
  };
}

/** The tensors whose shape follows the numbers of new tokens and of sampled ones. */
type StepTensors = ReturnType<typeof bindStep>;

function bindStep(runtime: Runtime, binding: Binding, tokens: number, sampled: number, place: LogitsPlace) {
  const ids = new BigInt64Array(tokens);
  const rows = new BigInt64Array(sampled);
  const idTensor = runtime.tensor(ids, [tokens]);
  const rowTensor = runtime.tensor(rows, [sampled]);
  const logitTensor = place.view(sampled);
  binding.input(decoderNames.tokens, idTensor);
  binding.input(decoderNames.sampled, rowTensor);
  binding.output(decoderNames.logits, logitTensor);
  return {
    fits: (tokenCount: number, sampledCount: number, memory: unknown) =>
      tokenCount === tokens && sampledCount === sampled && memory === place.memory,
    set(newTokens: readonly number[], newRows: readonly number[]) {
      for (let i = 0; i < tokens; i++) ids[i] = BigInt(newTokens[i]!);
      for (let i = 0; i < sampled; i++) rows[i] = BigInt(newRows[i]!);
    },
    release() {
      for (const tensor of [idTensor, rowTensor, logitTensor]) tensor.release();
    },
  };
}

/** [rows, logits / rows] in JavaScript's memory. */
export const logitsIn = (runtime: Runtime, logits: Float32Array<ArrayBuffer>): LogitsPlace => ({
  memory: logits.buffer,
  stays: false,
  view: (rows) => runtime.tensor(logits, [rows, logits.length / rows]),
});
