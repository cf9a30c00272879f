// A base model lowered: linears in the operators' packing, joined where they read the same input, and all else as plain
// floats. This is what the graph is built over, what sessions share, and what the cache on disk holds.

import type { ModelShape } from '../core/base-model.ts';

/** Widths of a linear's weights; 16 and 32 are floats. */
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
  /** Blocks have a minimum of their own, beside the symmetric codes. */
  readonly corrected: boolean;
  /** Half floats hold all scales and minimums exactly. */
  readonly halves: boolean;
  /** `<name>.bias` float32 [n] exists. */
  readonly bias: boolean;
};

export type LoweredTensor = {
  readonly type: 'float32' | 'uint8';
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
};

export type LoweredModel = {
  readonly shape: ModelShape;
  /** `layers.<i>.qkv`, `.output`, `.gate_up`, `.down`, and `head`. */
  readonly linears: ReadonlyMap<string, LinearForm>;
  /**
   * Packed linears, `layers.<i>.*_norm` vectors, `norm`, and `embedding` [vocabulary, hidden] if it is float. In a
   * merged model whose head was the embedding too, that stays as `embedding.packed`.
   */
  readonly weights: ReadonlyMap<string, LoweredTensor>;
};
