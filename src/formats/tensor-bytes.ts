// Sizes of tensors. Quantised types pack a fixed number of neighbouring weights of a row into one block.

import type { TensorType } from '../core/base-model.ts';

/** Weights in a block, and the block's bytes. In unpacked types a block is one weight. */
export const blockLayout: Readonly<Record<TensorType, { readonly weights: number; readonly bytes: number }>> = {
  F32: { weights: 1, bytes: 4 },
  F16: { weights: 1, bytes: 2 },
  BF16: { weights: 1, bytes: 2 },
  Q4_0: { weights: 32, bytes: 18 },
  Q4_1: { weights: 32, bytes: 20 },
  Q5_0: { weights: 32, bytes: 22 },
  Q5_1: { weights: 32, bytes: 24 },
  Q8_0: { weights: 32, bytes: 34 },
  Q4_K: { weights: 256, bytes: 144 },
  Q5_K: { weights: 256, bytes: 176 },
  Q6_K: { weights: 256, bytes: 210 },
};

/** Counts the bytes of `count` weights, which must be whole blocks. */
export function tensorBytes(type: TensorType, count: number): number {
  const block = blockLayout[type];
  if (count % block.weights !== 0) throw new Error(`${count} weights are not whole blocks of ${type}`);
  return (count / block.weights) * block.bytes;
}

/** Multiplies dimensions; null where one is no positive integer or the product is too large to be exact. */
export function elementCount(shape: readonly number[]): number | null {
  let count = 1;
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 1) return null;
    count *= dimension;
    if (!Number.isSafeInteger(count)) return null;
  }
  return count;
}
