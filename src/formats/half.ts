// 16-bit floats as numbers.

/** Every half-precision value by its bits: a look-up costs less than the arithmetic. */
const halves = new Float32Array(new Float16Array(Uint16Array.from({ length: 65_536 }, (_, bits) => bits).buffer));

/** The same memory as numbers to copy: half floats go through doubles, one by one. */
export const bitsOf = (values: Float16Array<ArrayBuffer>): Uint16Array =>
  new Uint16Array(values.buffer, values.byteOffset, values.length);

export const floatOfHalf = (bits: number): number => halves[bits]!;

/** The little-endian half-precision float at `offset`. */
export const halfAt = (bytes: Uint8Array, offset: number): number =>
  halves[bytes[offset]! | (bytes[offset + 1]! << 8)]!;
