// Tensors over memory that exists already: JavaScript's, or a device's by its address.

import { BFloat16Array } from '../core/bfloat16.ts';
import { forgetHandle, handleOf, setHandle } from './handles.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import { type ElementType, elementCount, type Tensor, type TensorData } from './session.ts';

/** Value of ONNXTensorElementDataType, and bytes of an element. */
export const elementTypes = {
  float32: { code: 1, bytes: 4 },
  uint8: { code: 2, bytes: 1 },
  int32: { code: 6, bytes: 4 },
  int64: { code: 7, bytes: 8 },
  float16: { code: 10, bytes: 2 },
  bfloat16: { code: 16, bytes: 2 },
} as const satisfies Record<ElementType, { code: number; bytes: number }>;

const typesOfArrays = new Map<unknown, ElementType>([
  [Float32Array, 'float32'],
  [Float16Array, 'float16'],
  [BFloat16Array, 'bfloat16'],
  [Uint8Array, 'uint8'],
  [Int32Array, 'int32'],
  [BigInt64Array, 'int64'],
]);

export const typeOf = (data: TensorData): ElementType => typesOfArrays.get(data.constructor)!;

/** JavaScript's memory behind tensors that have it; a device is sent copies of it. */
const arrays = new WeakMap<Tensor, TensorData>();

export const dataOf = (tensor: Tensor): TensorData | undefined => arrays.get(tensor);

export function hostTensor(api: OrtApi, memory: Pointer, data: TensorData, shape: readonly number[]): Tensor {
  if (elementCount(shape) !== data.length) throw new Error(`Shape [${shape}] is not ${data.length} elements.`);
  // Reading `buffer` moves a small array off V8's heap, so that its address never changes afterwards.
  if (data.buffer.byteLength < data.byteLength) throw new Error('The memory was detached.');
  const tensor = createTensor(api, memory, { at: data, bytes: data.byteLength, type: typeOf(data) }, shape);
  arrays.set(tensor, data);
  return tensor;
}

type Place = { readonly at: TensorData | Pointer; readonly bytes: number; readonly type: ElementType };

export function createTensor(api: OrtApi, memory: Pointer, place: Place, shape: readonly number[]): Tensor {
  const { at, bytes, type } = place;
  const dimensions = BigInt64Array.from(shape, BigInt);
  const { code } = elementTypes[type];
  const handle = api.call('createTensorWithDataAsOrtValue', memory, at, bytes, dimensions, shape.length, code);
  const tensor: Tensor = {
    shape,
    release: () => {
      api.call('releaseValue', handleOf(tensor));
      forgetHandle(tensor);
    },
  };
  setHandle(tensor, handle);
  return tensor;
}
