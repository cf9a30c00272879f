// Conversion of 16-bit floats to numbers.

/** All half-precision values by their bits: a look-up costs less than arithmetic. */
const halves = new Float32Array(new Float16Array(Uint16Array.from({ length: 65_536 }, (_, bits) => bits).buffer));

/** Views half floats as integers, for copying: half floats would be copied one by one through doubles. */
export const bitsOf = (values: Float16Array<ArrayBuffer>): Uint16Array =>
  new Uint16Array(values.buffer, values.byteOffset, values.length);

export const floatOfHalf = (bits: number): number => halves[bits]!;

/** Reads the little-endian half-precision float at `offset`. */
export const halfAt = (bytes: Uint8Array, offset: number): number =>
  halves[bytes[offset]! | (bytes[offset + 1]! << 8)]!;
