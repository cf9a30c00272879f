// What a graph is for. The algebra is the same; a device wants other forms of it.
//
//   host     8-bit products round activations, A pages lie [8, in] as PEFT has them
//   device   products are of floats, A pages lie [in, 8]: ONNX Runtime's operators multiply by matrices that lie so

import type { ModelShape } from '../core/base-model.ts';
import { kvBlock } from '../core/page-sizes.ts';

export type Real = 'float32' | 'float16' | 'bfloat16';

export const realBytes: Readonly<Record<Real, number>> = { float32: 4, float16: 2, bfloat16: 2 };

/** Of keys and values on the processor. */
export type HostReal = Exclude<Real, 'bfloat16'>;

/** Keys and values in blocks of a pool, of which each sequence has a list. */
export type BlockForm = {
  /** Tokens of a block. */
  readonly length: number;
  /** Whose PagedAttention reads them: the project's, or ONNX Runtime's. */
  readonly operator: 'own' | 'runtime';
};

type Floats = {
  /** Of weights' scales, activations, keys and values, and adapters. Logits are float32 in any case. */
  readonly real: Real;
  /** The device has the project's own operators: GroupedLora, GatedSilu. */
  readonly hasOperators?: boolean;
};

export type GraphTarget = Floats &
  (
    | { readonly on: 'host'; readonly blocks: BlockForm }
    /** Without blocks keys and values lie in rows of a pool, whole contexts side by side. */
    | { readonly on: 'device'; readonly blocks?: BlockForm }
  );

export const hostTarget = {
  ...{ on: 'host', real: 'float32' },
  blocks: { length: kvBlock, operator: 'own' },
} as const satisfies GraphTarget;

/** Of `blocks` blocks. The project's operator wants a block's keys transposed, ONNX Runtime's wants heads inside. */
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
