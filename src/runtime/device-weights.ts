// Weights in device memory, sent once: all sessions read the same copy, under whatever name and shape.

import type { Serially } from '../core/serially.ts';
import { handleOf } from './handles.ts';
import { type DeviceMemory, type DevicePlace, deviceMemory } from './memory.ts';
import type { Pointer } from './ort-api.ts';
import type { Memory, Tensor, TensorData } from './session.ts';
import { dataOf, elementTypes, hostTensor, typeOf } from './tensors.ts';

export type WeightSender = {
  readonly place: DevicePlace;
  /** Describes JavaScript's memory. */
  readonly memoryInfo: Pointer;
  /** A session of the probe model, which copies its input. */
  readonly session: Pointer;
};

type Weights = ReadonlyMap<string, Tensor>;

export type DeviceWeights = {
  readonly given: ReadonlyMap<string, Tensor>;
  /** Called with the session's release, and between runs. */
  release(): void;
};

/** Bytes of one element that the probe model copies. */
const unit = elementTypes.float32.bytes;

export function createDeviceWeights(sender: WeightSender, inTurn: Serially) {
  /** Copies for all sessions; each is released when its data are collected. */
  const copies = new WeakMap<TensorData, Promise<Memory>>();
  const released = new FinalizationRegistry<Memory>((memory) => inTurn(async () => memory.release()));

  const ownCopy = (data: TensorData): Promise<Memory> => inTurn(() => copyOf(sender, data));
  const sharedCopy = (data: TensorData): Promise<Memory> => {
    const known = copies.get(data);
    if (known) return known;
    const copy = ownCopy(data);
    copies.set(data, copy);
    copy.then(
      (memory) => released.register(data, memory),
      () => copies.delete(data),
    );
    return copy;
  };
  return {
    /**
     * `shared` weights are sent once for all sessions, `own` ones for this session, with which they are released. Holds
     * no weights after an error.
     */
    async of(shared: Weights, own: Weights): Promise<DeviceWeights> {
      // Throws for released tensors, even where a copy of their data still exists.
      for (const tensor of [...shared.values(), ...own.values()]) handleOf(tensor);
      const given = new Map<string, Tensor>();
      const memories: Memory[] = [];
      const release = () => {
        for (const held of [...given.values(), ...memories]) held.release();
      };
      try {
        for (const [name, tensor] of shared) {
          given.set(name, (await sharedCopy(dataOf(tensor)!)).view(0, tensor.shape));
        }
        for (const [name, tensor] of own) {
          const memory = await ownCopy(dataOf(tensor)!);
          memories.push(memory);
          given.set(name, memory.view(0, tensor.shape));
        }
      } catch (error) {
        await inTurn(async () => release());
        throw error;
      }
      return { given, release };
    },
  };
}

async function copyOf(sender: WeightSender, data: TensorData): Promise<Memory> {
  const { bytes } = elementTypes[typeOf(data)];
  // Rounded up to whole units, so that any type can be sent as floats.
  const units = Math.ceil(data.byteLength / unit);
  const memory = deviceMemory(sender.place, typeOf(data), (units * unit) / bytes);
  await send(sender, data, units, memory);
  return memory;
}

/** Sends by a run, which every provider can copy with. It moves bits and computes with no float. */
async function send(
  { place, memoryInfo, session }: WeightSender,
  data: TensorData,
  units: number,
  target: DeviceMemory,
) {
  const { api } = place;
  const source = hostTensor(api, memoryInfo, asFloats(data, units), [units]);
  const copy = target.viewAs('float32', [units]);
  const binding = api.call('createIoBinding', session);
  try {
    api.call('bindInput', binding, 'x', handleOf(source));
    api.call('bindOutput', binding, 'y', handleOf(copy));
    api.call('synchronizeBoundInputs', binding);
    await api.callAsync('runWithBinding', session, null, binding);
  } finally {
    api.call('releaseIoBinding', binding);
    for (const tensor of [source, copy]) tensor.release();
  }
}

function asFloats(data: TensorData, units: number): Float32Array {
  const isAligned = data.byteOffset % unit === 0 && data.byteLength === units * unit;
  if (isAligned) return new Float32Array(data.buffer, data.byteOffset, units);
  const bytes = new Uint8Array(units * unit);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return new Float32Array(bytes.buffer);
}
