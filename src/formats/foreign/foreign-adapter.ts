// An adapter in another program's layout, described in PEFT's terms: the tensors of its PEFT file, and how the bytes of
// each are made from the bytes of the uploaded file. Reads and writes no files itself.

import { safetensorsHeader, type TensorHead } from '../write-safetensors.ts';

export type ForeignTensor = TensorHead & {
  /** Where the values lie in the uploaded file. */
  readonly offset: number;
  readonly bytes: number;
  /** Gives the same values in PEFT's order. */
  reorder(bytes: Uint8Array): Uint8Array;
};

export type ForeignAdapter = {
  /** Fields of adapter_config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: readonly ForeignTensor[];
  /** What the other layout cannot express, for the adapter's owner. */
  readonly warnings: readonly string[];
  /** The chat template that the file itself contains. */
  readonly template?: string | null;
};

/** Makes adapter_model.safetensors, a tensor at a time. `read` reads bytes of the uploaded file. */
export function* foreignWeights(
  { tensors }: ForeignAdapter,
  read: (offset: number, bytes: number) => Uint8Array,
): Generator<Uint8Array> {
  const { header, ordered } = safetensorsHeader(tensors, { format: 'pt' });
  yield header;
  for (const { offset, bytes, reorder } of ordered) yield reorder(read(offset, bytes));
}

export const identity = (bytes: Uint8Array): Uint8Array => bytes;

/** Transposes a matrix. @param width bytes of an element */
export function transpose(rows: number, columns: number, width: number): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const turned = new Uint8Array(bytes.length);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const from = (row * columns + column) * width;
        const to = (column * rows + row) * width;
        for (let byte = 0; byte < width; byte++) turned[to + byte] = bytes[from + byte]!;
      }
    }
    return turned;
  };
}
