// A lowered base model: linears in the operators' packing, joined where they read the same input, and all other tensors
// as floats. Graphs are built over it, sessions share it, and the cache on disk holds it.

import type { ModelShape } from '../core/base-model.ts';
import type { BFloat16Array } from '../core/bfloat16.ts';

/** Bits of a linear's weights; 16 and 32 are floats. */
export type LinearBits = 4 | 8 | 16 | 32;
export type FloatBits = 16 | 32;

export const isFloats = (bits: LinearBits): bits is FloatBits => bits === 16 || bits === 32;

/**
 * How one linear [n, k] is stored. `<name>` is the weight's name in `weights`:
 * `<name>.packed`, uint8 or, at 32 bits, float32, as packed.ts says.
 */
export type LinearForm = {
  readonly bits: LinearBits;
  readonly n: number;
  readonly k: number;
  /** Whether blocks have a minimum besides their symmetric codes. */
  readonly corrected: boolean;
  /** Whether half floats hold all scales and minimums exactly. */
  readonly halves: boolean;
  /** Whether `<name>.bias`, float32 [n], exists. */
  readonly bias: boolean;
};

export type LoweredTensor = {
  readonly type: 'float32' | 'uint8';
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
};

/** As a graph may hold it beside that. */
export type RoundedTensor = {
  readonly type: 'bfloat16';
  readonly shape: readonly number[];
  readonly data: BFloat16Array;
};

export type LoweredModel = {
  readonly shape: ModelShape;
  /** Forms of `layers.<i>.qkv`, `.output`, `.gate_up`, `.down`, and `head`. */
  readonly linears: ReadonlyMap<string, LinearForm>;
  /**
   * Packed linears, biases, `layers.<i>.*_norm` vectors, `norm`, and `embedding` [vocabulary, hidden] if it is float.
   * Where a merged head was tied to the embedding, `embedding.packed` keeps the base's rows.
   */
  readonly weights: ReadonlyMap<string, LoweredTensor>;
};
