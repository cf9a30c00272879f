// Where a recorded run finds its inputs and leaves its outputs: one piece of a device's memory, with a view for each of
// them.

import { handleOf } from './handles.ts';
import { type DevicePlace, deviceMemory } from './memory.ts';
import type { ExchangePlace, Placed } from './recordings.ts';
import { dataOf, typeOf } from './tensors.ts';

export function exchangePlace(place: DevicePlace, placed: readonly Placed[], bytes: number): ExchangePlace {
  const { api } = place;
  const memory = deviceMemory(place, 'uint8', Math.max(1, bytes));
  const views = placed.map(({ tensor, at }) => memory.viewAs(typeOf(dataOf(tensor)!), tensor.shape, at));
  return {
    address: memory.address,
    bind(binding) {
      for (const [i, { as, name }] of placed.entries()) {
        api.call(as === 'input' ? 'bindInput' : 'bindOutput', binding, name, handleOf(views[i]!));
      }
    },
    release() {
      for (const view of views) view.release();
      memory.release();
    },
  };
}
