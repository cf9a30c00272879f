// Weights in device memory, sent there once: all sessions read the same copy, whatever name and shape they see it in.

import type { Serially } from '../core/serially.ts';
import { handleOf } from './handles.ts';
import { type DevicePlace, deviceMemory } from './memory.ts';
import type { Pointer } from './ort-api.ts';
import { elementCount, type Memory, type Tensor, type TensorData } from './session.ts';
import { dataOf, typeOf } from './tensors.ts';

export function createDeviceWeights(place: DevicePlace, environment: Pointer, inTurn: Serially) {
  /** Gone with the data that it is a copy of. */
  const copies = new WeakMap<TensorData, Memory>();
  const released = new FinalizationRegistry<Memory>((memory) => inTurn(async () => memory.release()));

  const copyOf = (tensor: Tensor): Memory => {
    const data = dataOf(tensor)!;
    const known = copies.get(data);
    if (known) return known;
    const memory = deviceMemory(place, typeOf(data), elementCount(tensor.shape));
    const target = memory.view(0, tensor.shape);
    place.api.call('copyTensors', environment, [handleOf(tensor)], [handleOf(target)], null, 1);
    target.release();
    copies.set(data, memory);
    released.register(data, memory);
    return memory;
  };
  return {
    /** Views that live as long as the session that reads them. */
    of: (weights: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> =>
      new Map([...weights].map(([name, tensor]) => [name, copyOf(tensor).view(0, tensor.shape)])),
  };
}
