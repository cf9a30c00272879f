// Writes safetensors files, byte for byte as the reference implementation lays them out.

import { type SafetensorsType, safetensorsBits } from './safetensors.ts';

/** A tensor's entry in the header. */
export type TensorHead = {
  readonly name: string;
  readonly type: SafetensorsType;
  readonly shape: readonly number[];
};

export type TensorToWrite = TensorHead & { readonly bytes: Uint8Array };

/** Makes a whole file. The same tensors and metadata give the same bytes, in any order. */
export function writeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const { header, ordered } = safetensorsHeader(tensors, metadata);
  const file = new Uint8Array(ordered.reduce((bytes, tensor) => bytes + tensor.bytes.length, header.length));
  file.set(header);
  let position = header.length;
  for (const { name, type, shape, bytes } of ordered) {
    const expected = safetensorsBytes({ name, type, shape });
    if (expected !== bytes.length) throw new Error(`${name}: ${type} [${shape}] does not take ${bytes.length} bytes`);
    file.set(bytes, position);
    position += bytes.length;
  }
  return file;
}

/** Counts the bytes of a tensor's data. */
export const safetensorsBytes = ({ type, shape }: TensorHead): number =>
  shape.reduce((product, dimension) => product * dimension, safetensorsBits[type]) / 8;

/**
 * Makes the file's beginning (length and JSON, padded so that the data starts at a multiple of 8), and the order in
 * which the tensors' data must follow it without gaps, so that a file can be written without holding its data.
 */
export function safetensorsHeader<T extends TensorHead>(
  tensors: readonly T[],
  metadata: Readonly<Record<string, string>> = {},
): { readonly header: Uint8Array; readonly ordered: readonly T[] } {
  const ordered = tensors.toSorted(byAlignmentThenName);
  // An object would move names like "0" to the front.
  const entries = new Map<string, unknown>();
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) entries.set('__metadata__', Object.fromEntries(keys.map((key) => [key, metadata[key]])));
  let position = 0;
  for (const tensor of ordered) {
    const { name, type: dtype, shape } = tensor;
    if (entries.has(name) || name === '__metadata__') throw new Error(`the tensor name ${name} is taken`);
    const end = position + safetensorsBytes(tensor);
    entries.set(name, { dtype, shape, data_offsets: [position, end] });
    position = end;
  }
  const members = [...entries].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  const json = new TextEncoder().encode(`{${members.join()}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(json, 8);
  return { header, ordered };
}

/** The reference's order: the widest types first, so that each tensor is aligned to its type. */
const typeOrder = Object.keys(safetensorsBits);
const byAlignmentThenName = (a: TensorHead, b: TensorHead) =>
  typeOrder.indexOf(b.type) - typeOrder.indexOf(a.type) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
