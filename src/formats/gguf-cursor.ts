// Reads little-endian values from the front of a GGUF file. It knows the file's length, and so tells a wrong length (an
// error) from a prefix that is too short (read more and start again). Knows nothing of GGUF's structure.

import { LorikeetError } from '../core/errors.ts';

/** The value lies within the file, but past the bytes at hand. */
export class PrefixTooShort extends Error {}

export class GgufCursor {
  offset = 0;
  readonly #buffer: Buffer;
  readonly #bytesMax: number;

  /** @param bytesMax where the header must end at the latest, which is at most the end of the file */
  constructor(prefix: Uint8Array, bytesMax: number) {
    this.#buffer = Buffer.from(prefix.buffer, prefix.byteOffset, prefix.byteLength);
    this.#bytesMax = bytesMax;
  }

  /** Throws unless `count` items of at least `itemBytes` bytes each can still follow. Call it before allocating. */
  expect(count: number, itemBytes: number, what: string): void {
    // Both numbers are exact, and the quotient is compared so that no product overflows.
    if (count > (this.#bytesMax - this.offset) / itemBytes) invalid(`${what} runs past byte ${this.#bytesMax}`);
  }

  u8(what: string): number {
    return this.#buffer.readUInt8(this.#take(1, what));
  }

  i8(what: string): number {
    return this.#buffer.readInt8(this.#take(1, what));
  }

  u16(what: string): number {
    return this.#buffer.readUInt16LE(this.#take(2, what));
  }

  i16(what: string): number {
    return this.#buffer.readInt16LE(this.#take(2, what));
  }

  u32(what: string): number {
    return this.#buffer.readUInt32LE(this.#take(4, what));
  }

  i32(what: string): number {
    return this.#buffer.readInt32LE(this.#take(4, what));
  }

  f32(what: string): number {
    return this.#buffer.readFloatLE(this.#take(4, what));
  }

  f64(what: string): number {
    return this.#buffer.readDoubleLE(this.#take(8, what));
  }

  u64(what: string): bigint {
    return this.#buffer.readBigUInt64LE(this.#take(8, what));
  }

  i64(what: string): bigint {
    return this.#buffer.readBigInt64LE(this.#take(8, what));
  }

  /** A count, size or offset: 64 bits in the file, an exact integer here. */
  size(what: string): number {
    const value = this.u64(what);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) invalid(`${what} is too large (${value})`);
    return Number(value);
  }

  /** Reads UTF-8 text that follows its length in bytes. Invalid UTF-8 becomes U+FFFD. */
  string(bytesMax: number, what: string): string {
    const length = this.size(`the length of ${what}`);
    if (length > bytesMax) invalid(`${what} has ${length} bytes; the limit is ${bytesMax}`);
    const start = this.#take(length, what);
    return this.#buffer.toString('utf8', start, start + length);
  }

  #take(bytes: number, what: string): number {
    this.expect(bytes, 1, what);
    const start = this.offset;
    if (start + bytes > this.#buffer.length) throw new PrefixTooShort();
    this.offset = start + bytes;
    return start;
  }
}

export function invalid(reason: string): never {
  throw new LorikeetError('model_file_invalid', { message: `Invalid GGUF file: ${reason}.` });
}
