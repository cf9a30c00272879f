// Writes safetensors files, byte for byte as the reference implementation lays them out.

import { type SafetensorsType, safetensorsBits } from './safetensors.ts';

export type TensorToWrite = {
  readonly name: string;
  readonly type: SafetensorsType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
};

/** A whole file. The same tensors and metadata give the same bytes, in whatever order they come. */
export function writeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const ordered = tensors.toSorted(byAlignmentThenName);
  const header = writeHeader(ordered, metadata);
  const file = new Uint8Array(ordered.reduce((bytes, tensor) => bytes + tensor.bytes.length, header.length));
  file.set(header);
  let position = header.length;
  for (const tensor of ordered) {
    file.set(tensor.bytes, position);
    position += tensor.bytes.length;
  }
  return file;
}

/** Length and JSON, padded so that the data starts at a multiple of 8. */
function writeHeader(tensors: readonly TensorToWrite[], metadata: Readonly<Record<string, string>>): Uint8Array {
  // A map, since an object would move names like "0" to the front.
  const entries = new Map<string, unknown>();
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) entries.set('__metadata__', Object.fromEntries(keys.map((key) => [key, metadata[key]])));
  let position = 0;
  for (const { name, type, shape, bytes } of tensors) {
    if (entries.has(name) || name === '__metadata__') throw new Error(`the tensor name ${name} is taken`);
    const bits = shape.reduce((product, dimension) => product * dimension, safetensorsBits[type]);
    if (bits !== bytes.length * 8) throw new Error(`${name}: ${type} [${shape}] does not take ${bytes.length} bytes`);
    entries.set(name, { dtype: type, shape, data_offsets: [position, position + bytes.length] });
    position += bytes.length;
  }
  const members = [...entries].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  const json = new TextEncoder().encode(`{${members.join()}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(json, 8);
  return header;
}

/** The reference's order: the widest types first, so that each tensor is aligned to its type. */
const typeOrder = Object.keys(safetensorsBits);
const byAlignmentThenName = (a: TensorToWrite, b: TensorToWrite) =>
  typeOrder.indexOf(b.type) - typeOrder.indexOf(a.type) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
