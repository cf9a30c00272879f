// What a device needs of the library: where that lies, how the device is added to a session, and how its memory is
// called. One file a device makes one.

import type { DeviceOperators } from './native-operators.ts';
import type { OrtApi, Pointer } from './ort-api.ts';

export type Provider = {
  readonly name: string;
  /** Path of the library that has it. */
  readonly library: string;
  /** The library's name for its memory, and which of several devices. */
  readonly memory: { readonly name: string; readonly index: number };
  readonly anchored: boolean;
  /** What its attention computes with. */
  readonly real: 'float32' | 'float16' | 'bfloat16';
  /** It reads keys and values in blocks, too. */
  readonly hasBlocks: boolean;
  /** Sessions must not leave any operator to the processor. */
  readonly strict: boolean;
  /** What to do where the device cannot be had; a sentence. */
  readonly hint: string;
  /** The project's own operators on it. Throws `device_unavailable`; null where there are none. */
  readonly operators: (() => DeviceOperators) | null;
  /** @param stream null: each session's own */
  append(api: OrtApi, settings: Pointer, stream: Pointer | null): void;
  freeBytes(): number | null;
};

export type ProviderPlaces = {
  /** LORIKEET_ORT_LIBRARY. */
  readonly library: string | null;
  /** Where scripts/setup-cuda.js puts a build with CUDA. */
  readonly cudaDir: string | null;
};
