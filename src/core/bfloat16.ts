// bfloat16: the upper 16 bits of a 32-bit float, so its range with 8 bits of precision. JavaScript has no array of it.

/** Bits of bfloat16 numbers. It reads and writes them as integers; `toBfloat16` and `ofBfloat16` know their values. */
export class BFloat16Array extends Uint16Array {
  /** Tells its type from that of other 16-bit integers. */
  declare readonly holds: 'bfloat16';

  override subarray(start?: number, end?: number): BFloat16Array {
    return super.subarray(start, end) as BFloat16Array;
  }
}

/**
 * To the nearest, to even; what is beyond the range becomes infinite, and no number stays none.
 * @param bits of a 32-bit float
 * @returns of the bfloat16
 */
export function roundToBfloat16(bits: number): number {
  // Rounding up could carry a NaN's bits over into an infinity or a zero.
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  // Half of the last kept place, and a little less where that place is even.
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Rounds each to a 32-bit float first, which changes nothing for what comes as floats of 32 or 16 bits. */
export function toBfloat16(values: ArrayLike<number>): BFloat16Array {
  const rounded = new BFloat16Array(values.length);
  const one = new Float32Array(1);
  const bits = new Uint32Array(one.buffer);
  for (let i = 0; i < rounded.length; i++) {
    one[0] = values[i]!;
    rounded[i] = roundToBfloat16(bits[0]!);
  }
  return rounded;
}

/** Exactly. */
export function ofBfloat16(values: Uint16Array): Float32Array<ArrayBuffer> {
  const floats = new Float32Array(values.length);
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = values[i]! << 16;
  return floats;
}
