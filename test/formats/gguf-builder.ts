// Writes small GGUF files for tests, also wrong ones: every count, type and offset can be set.

export type GgufEntry = { key: string; type: number; value: unknown };
export type GgufTensorEntry = { name: string; shape: number[]; type: number; offset: number | bigint; rank?: number };

export type GgufParts = {
  magic?: string;
  version?: number;
  tensorCount?: bigint;
  entryCount?: bigint;
  entries?: GgufEntry[];
  /** Tensors with shapes as in the file: fastest dimension first. */
  tensors?: GgufTensorEntry[];
  /** Bytes after the padded header. */
  dataBytes?: number;
};

export const text = (key: string, value: string): GgufEntry => ({ key, type: 8, value });
export const u32 = (key: string, value: number): GgufEntry => ({ key, type: 4, value });
export const f32 = (key: string, value: number): GgufEntry => ({ key, type: 6, value });
/** Makes an array entry; `count` may be wrong on purpose. */
export const array = (key: string, type: number, items: unknown[], count = BigInt(items.length)): GgufEntry => ({
  key,
  type: 9,
  value: { type, items, count },
});

export function buildGguf(parts: GgufParts): Buffer {
  const { entries = [], tensors = [], dataBytes = 0 } = parts;
  const head = Buffer.concat([
    Buffer.from(parts.magic ?? 'GGUF'),
    word(parts.version ?? 3),
    long(parts.tensorCount ?? BigInt(tensors.length)),
    long(parts.entryCount ?? BigInt(entries.length)),
    ...entries.flatMap(({ key, type, value }) => [string(key), word(type), encode(type, value)]),
    ...tensors.flatMap(({ name, shape, type, offset, rank = shape.length }) => [
      string(name),
      word(rank),
      ...shape.map((dimension) => long(BigInt(dimension))),
      word(type),
      long(BigInt(offset)),
    ]),
  ]);
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), Buffer.alloc(dataBytes)]);
}

function encode(type: number, value: unknown): Buffer {
  const buffer = Buffer.alloc(8);
  if (type === 8) return string(value as string);
  if (type === 9) {
    const { type: itemType, items, count } = value as { type: number; items: unknown[]; count: bigint };
    return Buffer.concat([word(itemType), long(count), ...items.map((item) => encode(itemType, item))]);
  }
  if (type >= 10 && type <= 11) return long(BigInt(value as number | bigint));
  if (type === 12) return buffer.subarray(0, buffer.writeDoubleLE(value as number));
  if (type === 6) return buffer.subarray(0, buffer.writeFloatLE(value as number));
  if (type === 4 || type === 5) return word(value as number);
  if (type === 2 || type === 3) return word(value as number).subarray(0, 2);
  return word(Number(value)).subarray(0, 1);
}

function word(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value >>> 0);
  return buffer;
}

function long(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt.asUintN(64, value));
  return buffer;
}

const string = (value: string) => Buffer.concat([long(BigInt(Buffer.byteLength(value))), Buffer.from(value)]);
