// A binding over one range of KV rows: the pool is tied once, and in steady state a decode step binds nothing at all.

import { decoderNames } from '../graph/decoder.ts';
import type { Binding, Runtime, Session, Tensor } from '../runtime/session.ts';
import type { ForwardBatch } from './forward-batch.ts';
import type { KvRange } from './kv-cache.ts';

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
  fill(batch: ForwardBatch, logits: LogitsPlace): void;
  release(): void;
};

export function createWindow(
  runtime: Runtime,
  session: Session,
  rows: KvRange,
  layers: number,
  { pasts }: Pick<ForwardBatch, 'pasts'>,
): Window {
  const binding = session.bind();
  const count = pasts.length;
  const pools: Tensor[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, tensor] of [
      [decoderNames.key(layer), rows.key(layer)],
      [decoderNames.value(layer), rows.value(layer)],
    ] as const) {
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
    binding.input(decoderNames[name], rowTensors[i]!, name === 'lastPositions' ? undefined : 'host');
  }
  const positions = pools[0]!.shape[2]!;
  // A recorded step says what attention makes room for, which is a length that few steps change.
  const lengthOf = (total: number, length: number) =>
    length === 1 && runtime.device?.hasOperators ? Math.min(positions, 2 ** Math.ceil(Math.log2(total))) : total;
  let stepTensors: StepTensors | null = null;

  return {
    binding,
    fill({ pasts, tokens, sampled }, logits) {
      const length = tokens.length / count;
      if (!stepTensors?.fits(tokens.length, sampled.length, logits.memory)) {
        stepTensors?.release();
        stepTensors = bindStep(runtime, binding, tokens.length, sampled.length, logits);
        batchShape.set([BigInt(count), BigInt(length), -1n]);
      }
      for (let i = 0; i < count; i++) lastPositions[i] = pasts[i]! + length - 1;
      totalLength[0] = lengthOf(Math.max(...pasts) + length, length);
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
