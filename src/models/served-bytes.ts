// Computes the memory that a model's weights take once they are lowered, from its headers alone.

import type { BaseModel, RawTensor, TensorType } from '../core/base-model.ts';

/** Formats whose values 4 bits hold exactly; all others take 8 bits. */
const fourBits: readonly TensorType[] = ['Q4_0', 'Q4_1', 'Q4_K'];
/** Formats with a minimum in each block. A tied embedding in these is kept as floats beside the head. */
const withMinimums: readonly TensorType[] = ['Q4_1', 'Q4_K', 'Q5_1', 'Q5_K'];

/** Bytes of a weight by bits. Each quantised block of 32 weights also has a scale and a minimum in half floats. */
const bytesOf = { 4: 0.5 + 4 / 32, 8: 1 + 4 / 32, 16: 2, 32: 4 } as const;

/** Whether a checkpoint's floats are rounded because no width was chosen. */
export const roundsFloats = ({ tensors }: BaseModel, bits: 4 | 8 | 16 | 32 | null): boolean =>
  bits === null && [...tensors.values()].some(({ type, shape }) => shape.length === 2 && /^B?F(16|32)$/.test(type));

/** Counts the bytes. @param bits of linears; null: each one's own, with floats at 8 */
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
