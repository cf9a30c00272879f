// bfloat16: the upper 16 bits of a 32-bit float, which give its range with 8 bits of precision. JavaScript has no such
// array.

/** An array of bfloat16 bits. Elements are integers; `toBfloat16` and `ofBfloat16` convert from and to numbers. */
export class BFloat16Array extends Uint16Array {
  /** Distinguishes the type from other arrays of 16-bit integers. */
  declare readonly holds: 'bfloat16';

  override subarray(start?: number, end?: number): BFloat16Array {
    return super.subarray(start, end) as BFloat16Array;
  }
}

/**
 * Rounds numbers to the nearest bfloat16, ties to even. Numbers beyond the range become infinite, and NaN stays NaN.
 */
export function toBfloat16(values: ArrayLike<number>): BFloat16Array {
  const rounded = new BFloat16Array(values.length);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  for (let i = 0; i < rounded.length; i++) {
    const value = values[i]!;
    float[0] = value;
    // Rounding to 32 bits first could make a tie of a number beside one. A number that 32 bits do not hold is therefore
    // cut off, and the last bit, far below the kept ones, is set as a sign of the rest (rounding to odd).
    if (float[0] !== value) bits[0] = (bits[0]! - Number(Math.abs(float[0]) > Math.abs(value))) | 1;
    rounded[i] = roundToEven(bits[0]!);
  }
  return rounded;
}

/** Upper half of a 32-bit float's bits, rounded to the nearest, ties to even. */
function roundToEven(bits: number): number {
  // Rounding up could turn a NaN's bits into those of an infinity or a zero.
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  // Adds half of the last kept place, and slightly less where that place is even.
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Converts bfloat16 bits to floats, exactly. */
export function ofBfloat16(values: Uint16Array): Float32Array<ArrayBuffer> {
  const floats = new Float32Array(values.length);
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = values[i]! << 16;
  return floats;
}
