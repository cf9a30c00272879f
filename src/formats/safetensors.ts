// Reads the header of a safetensors file, and refuses a file with any byte that the header does not explain.
//
//   8 bytes            header bytes          the rest
//   length, u64 LE  |  JSON, space-padded  |  data of all tensors, end to end
//
// Knows the names and places of tensors, but no model and no adapter.

import { type ErrorCode, LorikeetError } from '../core/errors.ts';
import { isRecord } from '../core/is-record.ts';
import { limits } from '../core/limits.ts';
import type { GrowingPrefix } from './growing-prefix.ts';
import { quoteName } from './quote-name.ts';
import { parseStrictJson, StrictJsonError } from './strict-json.ts';

/** Bits of one element. */
export const safetensorsBits = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type SafetensorsType = keyof typeof safetensorsBits;

export type SafetensorsTensor = {
  readonly name: string;
  readonly type: SafetensorsType;
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
};

export type SafetensorsFile = {
  readonly metadata: ReadonlyMap<string, string>;
  /** Tensors in the order of their data. */
  readonly tensors: readonly SafetensorsTensor[];
};

const lengthBytes = 8;

/** Prefix of a file in which its header is looked for. */
export const safetensorsPrefix: GrowingPrefix = {
  first: 256 * 1024,
  most: lengthBytes + limits.safetensorsHeaderBytes,
};

/** Most tensors in a file of an adapter, and of a base model. */
const [adapters, models] = [limits.adapterTensors, limits.safetensorsTensors];

/**
 * Parses the header. `prefix` is the file's beginning, `fileBytes` its whole length. Returns null where the header goes
 * on past the prefix: call again with a longer one. Throws `code`, which depends on whose file it is.
 */
export function parseSafetensorsHeader(
  prefix: Uint8Array,
  fileBytes: number,
  code: ErrorCode = 'model_file_invalid',
): SafetensorsFile | null {
  try {
    return parseHeader(prefix, fileBytes, code === 'adapter_invalid' ? adapters : models);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new LorikeetError(code, { message: `Invalid safetensors file: ${error.message}.` });
  }
}

function parseHeader(prefix: Uint8Array, fileBytes: number, tensorsMax: number): SafetensorsFile | null {
  if (fileBytes < lengthBytes) invalid('it is shorter than 8 bytes');
  if (prefix.length < lengthBytes) return null;
  const headerBytes = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (headerBytes > limits.safetensorsHeaderBytes) {
    invalid(`its header has ${headerBytes} bytes; the limit is ${limits.safetensorsHeaderBytes}`);
  }
  const dataStart = lengthBytes + Number(headerBytes);
  if (dataStart > fileBytes) invalid(`its header of ${headerBytes} bytes runs past the end of the file`);
  if (prefix.length < dataStart) return null;
  const entries = Object.entries(parseHeaderText(prefix.subarray(lengthBytes, dataStart), tensorsMax));
  const metadata = new Map<string, string>();
  const tensors: SafetensorsTensor[] = [];
  for (const [name, entry] of entries) {
    if (name === '__metadata__') readMetadata(entry, metadata);
    else tensors.push(readTensor(name, entry, dataStart));
  }
  if (tensors.length > tensorsMax) {
    invalid(`it has ${tensors.length} tensors; the limit is ${tensorsMax}`);
  }
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  checkContiguous(tensors, dataStart, fileBytes);
  return { metadata, tensors };
}

/**
 * Bounds on the header's JSON: a tensor is a name with three members, nested at most as a list of lists; the rest is
 * metadata.
 */
const boundsOf = (tensors: number) => ({ jsonDepth: 4, jsonMembers: 4 * tensors + limits.safetensorsMetadata });

function parseHeaderText(bytes: Uint8Array, tensorsMax: number): Record<string, unknown> {
  // A file that begins with anything else, even white space, could also be a valid file of another format.
  if (bytes[0] !== 0x7b) invalid('its header does not begin with "{"');
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return parseStrictJson(text, { naturalNumbers: true, bounds: boundsOf(tensorsMax) }) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof StrictJsonError) invalid(`in its header, ${error.message}`);
    invalid('its header is not UTF-8');
  }
}

function readMetadata(entry: unknown, metadata: Map<string, string>): void {
  if (!isRecord(entry)) invalid('__metadata__ is not an object');
  for (const [key, value] of Object.entries(entry)) {
    if (typeof value !== 'string' || !value.isWellFormed() || !key.isWellFormed()) {
      invalid(`__metadata__ ${quoteName(key)} is not a text`);
    }
    metadata.set(key, value);
  }
}

function readTensor(name: string, entry: unknown, dataStart: number): SafetensorsTensor {
  const what = `tensor ${quoteName(name)}`;
  if (!name.isWellFormed()) invalid(`the name of ${what} is not valid Unicode`);
  if (!isRecord(entry)) invalid(`${what} is not an object`);
  const { dtype, shape, data_offsets: offsets, ...others } = entry;
  const other = Object.keys(others)[0];
  if (other !== undefined) invalid(`${what} has the unknown field ${quoteName(other)}`);
  if (typeof dtype !== 'string' || !Object.hasOwn(safetensorsBits, dtype)) invalid(`${what} has an unknown dtype`);
  const type = dtype as SafetensorsType;
  if (!isNaturals(shape)) invalid(`the shape of ${what} is not a list of natural numbers`);
  if (!isNaturals(offsets) || offsets.length !== 2) invalid(`data_offsets of ${what} are not two natural numbers`);
  const [start, end] = offsets as [number, number];
  if (start > end) invalid(`${what} ends before it starts`);
  const bits = shape.reduce((product, dimension) => product * dimension, safetensorsBits[type]);
  // A product that is not exact is far larger than any file, so that the comparison rightly fails.
  if (bits !== (end - start) * 8)
    invalid(`${what} of ${type} [${shape}] does not take the ${end - start} bytes it has`);
  return { name, type, shape, offset: dataStart + start, bytes: end - start };
}

/**
 * Checks that every byte after the header belongs to exactly one tensor. `tensors` are in the order of their offsets.
 */
function checkContiguous(tensors: readonly SafetensorsTensor[], dataStart: number, fileBytes: number): void {
  let position = dataStart;
  for (const { name, offset, bytes } of tensors) {
    if (offset > position) invalid(`there is a hole before tensor ${quoteName(name)}`);
    if (offset < position) invalid(`tensor ${quoteName(name)} overlaps the one before it`);
    position += bytes;
  }
  if (position > fileBytes) invalid('its data runs past the end of the file');
  if (position < fileBytes) invalid(`${fileBytes - position} bytes follow the last tensor`);
}

const isNaturals = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item));

class SafetensorsError extends Error {}

function invalid(reason: string): never {
  throw new SafetensorsError(reason);
}
