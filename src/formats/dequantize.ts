// Decodes weights to 32-bit floats, exactly as ggml defines each type. A block shares its scales among 32 or 256
// neighbouring weights of a row. Each result is rounded once, so it has the reference's bits whatever the order of
// computation.

import type { TensorType } from '../core/base-model.ts';
import { q4_0, q4_1, q5_0, q5_1, q8_0 } from './dequantize-blocks.ts';
import { q4K, q5K, q6K } from './dequantize-k-quants.ts';
import { halfAt } from './half.ts';
import { tensorBytes } from './tensor-bytes.ts';

/** Fills `out` from `bytes`. Both hold the same number of whole blocks. */
export type Dequantizer = (bytes: Uint8Array, out: Float32Array) => void;

const dequantizers: Readonly<Record<TensorType, Dequantizer>> = {
  F32: (bytes, out) => new Uint8Array(out.buffer).set(bytes),
  F16: (bytes, out) => {
    for (let i = 0; i < out.length; i++) out[i] = halfAt(bytes, 2 * i);
  },
  BF16: (bytes, out) => {
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < bits.length; i++) bits[i] = (bytes[2 * i]! << 16) | (bytes[2 * i + 1]! << 24);
  },
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q5_1: q5_1,
  Q8_0: q8_0,
  Q4_K: q4K,
  Q5_K: q5K,
  Q6_K: q6K,
};

/** Decodes `count` weights, a whole number of blocks, from exactly the bytes that they take. */
export function dequantize(type: TensorType, bytes: Uint8Array, count: number): Float32Array<ArrayBuffer> {
  if (bytes.length !== tensorBytes(type, count)) throw new Error(`${bytes.length} bytes do not hold ${count} ${type}`);
  const out = new Float32Array(count);
  dequantizers[type](bytes, out);
  return out;
}
