// What a device needs of the library: the library's path, how the device is added to a session, and the name of its
// memory. Each device has a file that makes one.

import type { DeviceOperators } from './native-operators.ts';
import type { OrtApi, Pointer } from './ort-api.ts';

/** Float types for which ONNX Runtime's attention has kernels on an NVIDIA card. */
export type CardReal = 'float16' | 'bfloat16';

export type Provider = {
  readonly name: string;
  /** Path of the library that has the provider. */
  readonly library: string;
  /** The library's name for the device's memory, and the device's index. */
  readonly memory: { readonly name: string; readonly index: number };
  readonly anchored: boolean;
  /** Float type of its attention. */
  readonly real: 'float32' | CardReal;
  /** Whether its attention also reads the KV cache in blocks. */
  readonly hasBlocks: boolean;
  /** Whether sessions must not leave any operator to the processor. */
  readonly strict: boolean;
  /** A sentence on what to do where the device is not available. */
  readonly hint: string;
  /** Opens the project's own operators for the device. Throws `device_unavailable`; null where there are none. */
  readonly operators: (() => DeviceOperators) | null;
  /** @param stream null gives each session its own */
  append(api: OrtApi, settings: Pointer, stream: Pointer | null): void;
  freeBytes(): number | null;
};

export type ProviderPlaces = {
  /** Value of LORIKEET_ORT_LIBRARY; null without. */
  readonly library: string | null;
  /** Where scripts/setup-cuda.js puts a build with CUDA. */
  readonly cudaDir: string | null;
};
