// Where a recorded run finds its inputs: one piece of a device's memory, seen as each of them.

import { handleOf } from './handles.ts';
import { type DevicePlace, deviceMemory } from './memory.ts';
import type { InputPlace, PlacedInput } from './recordings.ts';
import { dataOf, typeOf } from './tensors.ts';

export function inputPlace(place: DevicePlace, inputs: readonly PlacedInput[], bytes: number): InputPlace {
  const memory = deviceMemory(place, 'uint8', Math.max(1, bytes));
  const views = inputs.map(({ tensor, at }) => memory.viewAs(typeOf(dataOf(tensor)!), tensor.shape, at));
  return {
    address: memory.address,
    bind(binding) {
      for (const [i, { name }] of inputs.entries()) place.api.call('bindInput', binding, name, handleOf(views[i]!));
    },
    release() {
      for (const view of views) view.release();
      memory.release();
    },
  };
}
