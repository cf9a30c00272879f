// Encodes numbers as 32- and 16-bit floats, little endian, rounded to the nearest (ties to even).

import type { FloatType } from '../core/base-model.ts';
import { toBfloat16 } from '../core/bfloat16.ts';

/** Encodes the values. Throws RangeError for a number that would become an infinity: F16 ends at 65,504. */
export function encodeFloats(type: FloatType, values: Float64Array): Uint8Array {
  const encoded = encoders[type](values);
  return new Uint8Array(encoded.buffer, 0, encoded.byteLength);
}

const encoders = {
  F32: (values: Float64Array) => finite(new Float32Array(values)),
  F16: (values: Float64Array) => finite(new Float16Array(values)),
  BF16(values: Float64Array) {
    const bits = toBfloat16(values);
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f80) === 0x7f80) overflow();
    return bits;
  },
} as const;

function finite<T extends Float32Array | Float16Array>(values: T): T {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) overflow();
  return values;
}

function overflow(): never {
  throw new RangeError('a weight is beyond the range of the type');
}
