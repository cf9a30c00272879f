// Makes the beginning of a GGUF file (version 3, little endian), which determines where each tensor's data stands, so
// that a file can be written without holding its data. Knows neither what the metadata means nor how tensors are
// packed.

import type { TensorType } from '../core/base-model.ts';
import { ggmlTypeNames } from './gguf-types.ts';
import { elementCount, tensorBytes } from './tensor-bytes.ts';

/** Entry of a tensor. As in gguf.ts, the slowest dimension is first. */
export type GgufTensorHead = { readonly name: string; readonly type: TensorType; readonly shape: readonly number[] };

export type GgufLayout = {
  /** Beginning of the file, padded: the first tensor's data follows it. */
  readonly header: Uint8Array;
  readonly fileBytes: number;
  /** Gives the zeros that follow a tensor's `bytes` bytes of data. */
  padding(bytes: number): Uint8Array;
};

const ggmlTypes = new Map(Object.entries(ggmlTypeNames).map(([number, name]) => [name, Number(number)]));
const valueTypes = { float: 6, text: 8 } as const;

/**
 * Lays out a file.
 * @param entries metadata entries as the file holds them: key, type, value. An entry `general.alignment` must equal
 * `alignment`.
 * @param tensors in the order of their data
 */
export function layOutGguf(
  entries: readonly Uint8Array[],
  tensors: readonly GgufTensorHead[],
  alignment: number,
): GgufLayout {
  const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment;
  let dataBytes = 0;
  const infos = tensors.flatMap(({ name, type, shape }) => {
    const offset = dataBytes;
    dataBytes += aligned(tensorBytes(type, elementCount(shape)!));
    return [text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(ggmlTypes.get(type)!), u64(offset)];
  });
  const counts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length)];
  const parts = Buffer.concat([...counts, ...entries, ...infos]);
  const header = new Uint8Array(aligned(parts.length));
  header.set(parts);
  return {
    header,
    fileBytes: header.length + dataBytes,
    padding: (bytes) => new Uint8Array(aligned(bytes) - bytes),
  };
}

/** Makes a metadata entry with a text. */
export const ggufText = (key: string, value: string): Uint8Array =>
  Buffer.concat([text(key), u32(valueTypes.text), text(value)]);

/** Makes a metadata entry with a float32. */
export const ggufFloat = (key: string, value: number): Uint8Array =>
  Buffer.concat([text(key), u32(valueTypes.float), f32(value)]);

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
