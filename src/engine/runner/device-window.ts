// A binding over a device's KV cache: pools are bound once, and in steady state a decode step binds nothing.

import { decoderNames } from '../../graph/decoder.ts';
import type { Binding, Runtime, Session, Tensor } from '../../runtime/session.ts';
import type { KvRange } from '../kv/kv-cache.ts';
import type { TiedAdapters } from './adapter-runs.ts';
import type { DeviceRun } from './device-run.ts';
import type { LogitsPlace } from './logits-place.ts';

/**
 * Fewest tokens that a recorded step's attention makes room for: few sizes keep recordings, and this one costs nothing.
 */
const roomMin = 256;

export type DeviceWindow = {
  readonly binding: Binding;
  fill(run: DeviceRun, logits: LogitsPlace): void;
  release(): void;
};

export function createDeviceWindow(
  runtime: Runtime,
  session: Session,
  kv: KvRange,
  { layers, positions, rows }: { readonly layers: number; readonly positions: number; readonly rows: number },
  tieAdapters: (binding: Binding) => TiedAdapters | null,
): DeviceWindow {
  const binding = session.bind();
  const pools: Tensor[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, tensor] of [
      [decoderNames.key(layer), kv.key(layer, rows)],
      [decoderNames.value(layer), kv.value(layer, rows)],
    ] as const) {
      binding.input(name, tensor);
      binding.output(decoderNames.present(name), tensor);
      pools.push(tensor);
    }
  }
  const lengths = tieRows(runtime, binding, rows, positions);
  const adapters = tieAdapters(binding);
  let stepTensors: StepTensors | null = null;

  return {
    binding,
    fill({ phase, pasts, tokens, sampled, adapters: used }, logits) {
      if (!stepTensors?.fits(tokens.length, sampled.length, logits.memory)) {
        stepTensors?.release();
        stepTensors = bindStep(runtime, binding, tokens.length, sampled.length, logits);
      }
      lengths.set(pasts, tokens.length / rows);
      stepTensors.set(tokens, sampled);
      const all = tokens.map((_, i) => used[Math.floor((i * rows) / tokens.length)]!);
      adapters?.write({ rows: all, sampled: sampled.map((row) => all[row]!), steady: phase === 'decode' });
    },
    release() {
      stepTensors?.release();
      adapters?.release();
      for (const tensor of [...pools, ...lengths.tensors]) tensor.release();
      binding.release();
    },
  };
}

function tieRows(runtime: Runtime, binding: Binding, count: number, positions: number) {
  const lastPositions = new Int32Array(count);
  const totalLength = new Int32Array(1);
  const batchShape = new BigInt64Array(3);
  const tensors = [lastPositions, totalLength, batchShape].map((data) => runtime.tensor(data, [data.length]));
  for (const [i, name] of (['lastPositions', 'totalLength', 'batchShape'] as const).entries()) {
    binding.input(decoderNames[name], tensors[i]!, name === 'lastPositions' ? undefined : 'host');
  }
  // A recorded step fixes the length that attention makes room for, so that length is one that few steps change.
  const roomFor = (total: number, added: number) =>
    added === 1 && runtime.device?.hasOperators
      ? Math.min(positions, Math.max(roomMin, 2 ** Math.ceil(Math.log2(total))))
      : total;
  return {
    tensors,
    set(pasts: readonly number[], added: number) {
      batchShape.set([BigInt(count), BigInt(added), -1n]);
      for (let i = 0; i < count; i++) lastPositions[i] = pasts[i]! + added - 1;
      totalLength[0] = roomFor(Math.max(...pasts) + added, added);
    },
  };
}

/** Tensors whose shape depends on the numbers of new and of sampled tokens. */
type StepTensors = ReturnType<typeof bindStep>;

function bindStep(runtime: Runtime, binding: Binding, tokens: number, sampled: number, place: LogitsPlace) {
  const ids = new BigInt64Array(tokens);
  const rows = new BigInt64Array(sampled);
  const idTensor = runtime.tensor(ids, [tokens]);
  const rowTensor = runtime.tensor(rows, [sampled]);
  const logitTensor = place.view(sampled);
  binding.input(decoderNames.tokens, idTensor);
  binding.input(decoderNames.sampled, rowTensor);
  binding.output(decoderNames[place.result ?? 'logits'], logitTensor);
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
