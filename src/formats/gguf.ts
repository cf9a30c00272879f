// Reads the header of a GGUF file (versions 2 and 3, little endian): metadata, and the place of each tensor. The file
// is not trusted: every count, size and offset is checked against the file's length and core/limits.ts before it is
// used. Knows neither what the metadata means nor how tensors are packed.

import type { TensorType } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { GgufCursor, invalid, PrefixTooShort } from './gguf-cursor.ts';
import { ggmlTypeNames } from './gguf-types.ts';
import { quoteName } from './quote-name.ts';
import { blockLayout, elementCount, tensorBytes } from './tensor-bytes.ts';

/** A metadata value. 64-bit integers become numbers where a number holds them exactly. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

export type GgufTensor = {
  readonly name: string;
  readonly type: TensorType;
  /** Slowest dimension first, [out, in] for a linear: the reverse of the order in the file. */
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
};

export type GgufFile = {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Where each entry (key, type and value) lies in the file, so that it can be copied unchanged. */
  readonly entries: ReadonlyMap<string, { readonly start: number; readonly end: number }>;
  /** Alignment of the tensors' data, in bytes. */
  readonly alignment: number;
  /** Tensors in the order of the header. */
  readonly tensors: readonly GgufTensor[];
};

/** Largest header that is read: of a base model, or of an upload, during which other requests wait. */
export type GgufBounds = { readonly headerBytes: number; readonly tensors: number; readonly arrayElements: number };

const models: GgufBounds = {
  headerBytes: limits.ggufHeaderBytes,
  tensors: limits.ggufTensors,
  arrayElements: limits.ggufArrayElements,
};

/**
 * Parses the header. `prefix` is the file's beginning, `fileBytes` its whole length. Returns null where the header goes
 * on past the prefix: call again with a longer one. Throws `model_file_invalid`, or `model_unsupported` for a known
 * tensor type that is not read here.
 */
export function parseGguf(prefix: Uint8Array, fileBytes: number, bounds: GgufBounds = models): GgufFile | null {
  const cursor = new GgufCursor(prefix, Math.min(fileBytes, bounds.headerBytes));
  try {
    return parseHeader(cursor, fileBytes, bounds);
  } catch (error) {
    if (error instanceof PrefixTooShort && prefix.length < fileBytes) return null;
    throw error;
  }
}

function parseHeader(
  cursor: GgufCursor,
  fileBytes: number,
  { tensors: tensorsMax, arrayElements }: GgufBounds,
): GgufFile {
  if (cursor.u32('the magic number') !== 0x46554747) invalid('it does not begin with "GGUF"');
  const version = cursor.u32('the version');
  if (version !== 2 && version !== 3) invalid(`version ${version} is not known (2 and 3 are; big endian is not)`);
  const tensorCount = cursor.size('the tensor count');
  const metadataCount = cursor.size('the metadata count');
  if (tensorCount > tensorsMax) invalid(`it has ${tensorCount} tensors; the limit is ${tensorsMax}`);
  if (metadataCount > limits.ggufMetadataEntries) {
    invalid(`it has ${metadataCount} metadata entries; the limit is ${limits.ggufMetadataEntries}`);
  }
  const { metadata, entries } = readMetadata(cursor, metadataCount, arrayElements);
  const found = Array.from({ length: tensorCount }, (_, index) => readTensor(cursor, `tensor ${index}`));
  const alignment = alignmentOf(metadata);
  const tensors = placeTensors(found, cursor.offset, alignment, fileBytes);
  return { version, metadata, entries, alignment, tensors };
}

function readMetadata(
  cursor: GgufCursor,
  count: number,
  arrayElements: number,
): Pick<GgufFile, 'metadata' | 'entries'> {
  const metadata = new Map<string, GgufValue>();
  const entries = new Map<string, { start: number; end: number }>();
  const budget = { elements: arrayElements, most: arrayElements };
  for (let index = 0; index < count; index++) {
    const start = cursor.offset;
    const key = cursor.string(limits.ggufNameBytes, `metadata key ${index}`);
    if (metadata.has(key)) invalid(`metadata key ${quoteName(key)} occurs twice`);
    const what = `metadata ${quoteName(key)}`;
    metadata.set(key, readValue(cursor, cursor.u32(`the type of ${what}`), what, budget, 0));
    entries.set(key, { start, end: cursor.offset });
  }
  return { metadata, entries };
}

type Reader = { readonly bytesMin: number; read(cursor: GgufCursor, what: string): GgufValue };

const exact = (value: bigint) => (BigInt.asIntN(54, value) === value ? Number(value) : value);

/** Readers by the number of the value's type; number 9 is the array. */
const scalarReaders: Readonly<Record<number, Reader>> = {
  0: { bytesMin: 1, read: (cursor, what) => cursor.u8(what) },
  1: { bytesMin: 1, read: (cursor, what) => cursor.i8(what) },
  2: { bytesMin: 2, read: (cursor, what) => cursor.u16(what) },
  3: { bytesMin: 2, read: (cursor, what) => cursor.i16(what) },
  4: { bytesMin: 4, read: (cursor, what) => cursor.u32(what) },
  5: { bytesMin: 4, read: (cursor, what) => cursor.i32(what) },
  6: { bytesMin: 4, read: (cursor, what) => cursor.f32(what) },
  7: { bytesMin: 1, read: (cursor, what) => cursor.u8(what) !== 0 },
  8: { bytesMin: 8, read: (cursor, what) => cursor.string(limits.ggufStringBytes, what) },
  10: { bytesMin: 8, read: (cursor, what) => exact(cursor.u64(what)) },
  11: { bytesMin: 8, read: (cursor, what) => exact(cursor.i64(what)) },
  12: { bytesMin: 8, read: (cursor, what) => cursor.f64(what) },
};
const arrayType = 9;
/** Bytes of an array's type and count. */
const arrayBytesMin = 12;

function readValue(
  cursor: GgufCursor,
  type: number,
  what: string,
  budget: { elements: number; readonly most: number },
  depth: number,
): GgufValue {
  const scalar = scalarReaders[type];
  if (scalar !== undefined) return scalar.read(cursor, what);
  if (type !== arrayType) invalid(`${what} has the unknown type ${type}`);
  if (depth === limits.ggufArrayDepth) invalid(`${what} nests arrays deeper than ${limits.ggufArrayDepth}`);
  const itemType = cursor.u32(`the item type of ${what}`);
  const count = cursor.size(`the item count of ${what}`);
  if (count > budget.elements) invalid(`its arrays hold more than ${budget.most} items together`);
  budget.elements -= count;
  const itemReader = scalarReaders[itemType];
  cursor.expect(count, itemReader?.bytesMin ?? arrayBytesMin, what);
  const items: GgufValue[] = [];
  for (let index = 0; index < count; index++) {
    items.push(itemReader?.read(cursor, what) ?? readValue(cursor, itemType, what, budget, depth + 1));
  }
  return items;
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const alignment = metadata.get('general.alignment') ?? 32;
  const powerOfTwo = typeof alignment === 'number' && alignment > 0 && Number.isInteger(Math.log2(alignment));
  if (!powerOfTwo || alignment < 8 || alignment > limits.ggufAlignmentBytes) {
    invalid(`general.alignment must be a power of two from 8 to ${limits.ggufAlignmentBytes}`);
  }
  return alignment;
}

/** Reads a tensor's entry in the header. Its offset still counts from the end of the header. */
function readTensor(cursor: GgufCursor, ordinal: string): GgufTensor {
  const name = cursor.string(limits.ggufNameBytes, `the name of ${ordinal}`);
  const what = `tensor ${quoteName(name)}`;
  const dimensions = cursor.u32(`the rank of ${what}`);
  if (dimensions < 1 || dimensions > 4) invalid(`${what} has ${dimensions} dimensions (1 to 4 are possible)`);
  const shape: number[] = [];
  for (let axis = 0; axis < dimensions; axis++) shape.unshift(cursor.size(`the shape of ${what}`));
  const type = tensorType(cursor.u32(`the type of ${what}`), what);
  const offset = cursor.size(`the offset of ${what}`);
  const count = elementCount(shape);
  if (count === null) invalid(`${what} has an impossible shape [${shape}]`);
  if (shape.at(-1)! % blockLayout[type].weights !== 0) {
    invalid(`${what} has rows of ${shape.at(-1)}, not whole ${type} blocks of ${blockLayout[type].weights}`);
  }
  return { name, type, shape, offset, bytes: tensorBytes(type, count) };
}

function tensorType(id: number, what: string): TensorType {
  const name = ggmlTypeNames[id];
  if (name === undefined) invalid(`${what} has the unknown type ${id}`);
  if (Object.hasOwn(blockLayout, name)) return name as TensorType;
  throw new LorikeetError('model_unsupported', {
    message: `In this GGUF file ${what} is of type ${name}; supported are ${Object.keys(blockLayout).join(', ')}.`,
  });
}

/**
 * Makes offsets count from the start of the file, after checking that each tensor is aligned, inside the file and apart
 * from all others.
 */
function placeTensors(
  found: readonly GgufTensor[],
  headerBytes: number,
  alignment: number,
  fileBytes: number,
): GgufTensor[] {
  const dataStart = Math.ceil(headerBytes / alignment) * alignment;
  const names = new Set<string>();
  const placed = found.map((tensor) => {
    const what = `tensor ${quoteName(tensor.name)}`;
    if (names.has(tensor.name)) invalid(`${what} occurs twice`);
    names.add(tensor.name);
    if (tensor.offset % alignment !== 0) invalid(`${what} is not aligned to ${alignment} bytes`);
    // Exact integers are subtracted, so that a huge offset cannot wrap around.
    if (tensor.bytes > fileBytes - dataStart - tensor.offset) invalid(`${what} runs past the end of the file`);
    return { ...tensor, offset: dataStart + tensor.offset };
  });
  const byOffset = placed.toSorted((a, b) => a.offset - b.offset);
  for (let index = 1; index < byOffset.length; index++) {
    const before = byOffset[index - 1]!;
    const after = byOffset[index]!;
    if (before.offset + before.bytes > after.offset) {
      invalid(`tensors ${quoteName(before.name)} and ${quoteName(after.name)} overlap`);
    }
  }
  return placed;
}
