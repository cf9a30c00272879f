// What a model's weights take in memory once they are lowered, from its headers alone.

import type { BaseModel, RawTensor, TensorType } from '../core/base-model.ts';

/** Formats whose values 4 bits hold exactly; all others have 8. */
const fourBits: readonly TensorType[] = ['Q4_0', 'Q4_1', 'Q4_K'];
/** Blocks have a minimum of their own: a tied embedding of these is kept as floats beside the head. */
const withMinimums: readonly TensorType[] = ['Q4_1', 'Q4_K', 'Q5_1', 'Q5_K'];

/** A scale and a minimum, half floats, for each block of 32 weights. */
const bytesOf = { 4: 0.5 + 4 / 32, 8: 1 + 4 / 32, 16: 2, 32: 4 } as const;

/** Whether a checkpoint's floats are rounded, because nobody asked for their own width. */
export const roundsFloats = ({ tensors }: BaseModel, bits: 4 | 8 | 16 | 32 | null): boolean =>
  bits === null && [...tensors.values()].some(({ type, shape }) => shape.length === 2 && /^B?F(16|32)$/.test(type));

/** @param bits of linears; null: each one's own, floats at 8 */
export function servedBytes({ shape, tensors }: BaseModel, bits: 4 | 8 | 16 | 32 | null): number {
  const widthOf = ({ type }: RawTensor) => bits ?? (fourBits.includes(type) ? 4 : 8);
  let sum = 0;
  for (const [name, tensor] of tensors) {
    const elements = tensor.shape.reduce((product, length) => product * length, 1);
    if (tensor.shape.length !== 2) sum += 4 * elements;
    else if (name !== 'model.embed_tokens.weight') sum += bytesOf[widthOf(tensor)] * elements;
    else {
      const width = widthOf(tensor);
      const isHead = shape.tiedEmbedding;
      const isOne = isHead && width === 8 && !withMinimums.includes(tensor.type);
      sum += (isHead ? bytesOf[width] : 0) * elements + (isOne ? 0 : 4 * elements);
    }
  }
  return Math.ceil(sum);
}
