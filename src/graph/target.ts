// Where a graph computes. The algebra is the same, but a device wants other forms of it.
//
//   host     quantised products round activations, adapters are inputs of the linears' operators
//   device   products are of floats, adapters have operators of their own

import type { ModelShape } from '../core/base-model.ts';
import { kvBlock } from '../core/page-sizes.ts';

export type Real = 'float32' | 'float16' | 'bfloat16';

export const realBytes: Readonly<Record<Real, number>> = { float32: 4, float16: 2, bfloat16: 2 };

/** Element types of the KV cache on the processor. */
export type HostReal = Exclude<Real, 'bfloat16'>;

/** Form of a KV cache in blocks of a pool, of which each sequence has a list. */
export type BlockForm = {
  /** Tokens of a block. */
  readonly length: number;
  /** Whose PagedAttention reads the blocks: the project's, or ONNX Runtime's. */
  readonly operator: 'own' | 'runtime';
};

type Floats = {
  /** Float type of weights' scales, activations, KV cache and adapters. Logits are always float32. */
  readonly real: Real;
  /** Whether the device has the project's own operators (native/operators.h), and weights in their packing. */
  readonly hasOperators?: boolean;
};

export type GraphTarget = Floats &
  (
    | { readonly on: 'host'; readonly blocks: BlockForm }
    /** Without blocks, the KV cache lies in rows of a pool, one whole context behind another. */
    | { readonly on: 'device'; readonly blocks?: BlockForm }
  );

export const hostTarget = {
  ...{ on: 'host', real: 'float32' },
  blocks: { length: kvBlock, operator: 'own' },
} as const satisfies GraphTarget;

/**
 * Shapes of a layer's pools with `blocks` blocks. The project's operator reads keys transposed, ONNX Runtime's reads
 * heads inside tokens.
 */
export function poolShapes(
  { length, operator }: BlockForm,
  { kvHeads, headDim }: Pick<ModelShape, 'kvHeads' | 'headDim'>,
  blocks: number,
): { readonly keys: readonly number[]; readonly values: readonly number[] } {
  if (operator === 'own') {
    return { keys: [blocks, kvHeads, headDim, length], values: [blocks, kvHeads, length, headDim] };
  }
  const both = [blocks, length, kvHeads, headDim];
  return { keys: both, values: both };
}
