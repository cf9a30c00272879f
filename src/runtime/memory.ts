// Memory for sessions, in the place where they compute.

import { BFloat16Array } from '../core/bfloat16.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import {
  type ElementType,
  elementCount,
  type Memory,
  type MemoryPlace,
  type Tensor,
  type TensorData,
} from './session.ts';
import { createTensor, elementTypes } from './tensors.ts';

const arrayTypes = {
  float32: Float32Array,
  float16: Float16Array,
  bfloat16: BFloat16Array,
  uint8: Uint8Array,
  int32: Int32Array,
  int64: BigInt64Array,
} as const satisfies Record<ElementType, unknown>;

/** Memory on the host, where sessions compute in JavaScript's memory. */
export function hostMemory(
  type: ElementType,
  elements: number,
  tensor: (data: TensorData, shape: readonly number[]) => Tensor,
): Memory {
  const data: TensorData = new arrayTypes[type](elements);
  const view = (start: number, shape: readonly number[]) =>
    // A range past the end gives too short a subarray, which `tensor` refuses.
    tensor(data.subarray(start, start + elementCount(shape)), shape);
  return { type, elements, view, release: () => {} };
}

export type DevicePlace = {
  readonly api: OrtApi;
  readonly memoryInfo: Pointer;
  readonly allocator: Pointer;
  readonly anchored: boolean;
};

export type DeviceMemory = Memory & {
  readonly address: Pointer;
  /** The memory viewed as another type, from byte `start` on; 0 by default. */
  viewAs(type: ElementType, shape: readonly number[], start?: number): Tensor;
};

/** Address of a place in a device's memory. */
export function addressOf({ memory, start }: MemoryPlace): Pointer {
  const { address, type } = memory as DeviceMemory;
  return address + BigInt(start * elementTypes[type].bytes);
}

export function deviceMemory(place: DevicePlace, type: ElementType, elements: number): DeviceMemory {
  const { api, memoryInfo, allocator, anchored } = place;
  const { code, bytes } = elementTypes[type];
  // At least one element is allocated, so that empty memory has an address too.
  const shape = BigInt64Array.of(BigInt(Math.max(1, elements)));
  const owner = api.call('createTensorAsOrtValue', allocator, shape, 1, code);
  const address = api.call('getTensorMutableData', owner);
  return {
    type,
    elements,
    address,
    view(start, shape) {
      const count = elementCount(shape);
      if (start + count > elements) throw new Error(`[${shape}] from ${start} is past the ${elements} elements.`);
      if (anchored && start !== 0) throw new Error('Views of this device begin at the start of their memory.');
      const at = address + BigInt(start * bytes);
      return createTensor(api, memoryInfo, { at, bytes: count * bytes, type }, shape);
    },
    viewAs(other, shape, start = 0) {
      const count = elementCount(shape) * elementTypes[other].bytes;
      if (start + count > elements * bytes) throw new Error(`[${shape}] of ${other} is past the end.`);
      return createTensor(api, memoryInfo, { at: address + BigInt(start), bytes: count, type: other }, shape);
    },
    release: () => void api.call('releaseValue', owner),
  };
}
