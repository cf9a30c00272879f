// The values of an adapter's tensors: decoding to floats, and checks whether they can be served. Knows nothing of
// files: the caller passes each tensor's bytes.

import type { TensorType } from '../core/base-model.ts';
import { limits } from '../core/limits.ts';
import { dequantize } from './dequantize.ts';
import type { AdapterPair, PeftAdapter } from './peft-adapter.ts';
import type { EmbeddingPair } from './peft-embedding.ts';
import { invalidAdapter } from './refuse-adapter.ts';
import type { SafetensorsTensor } from './safetensors.ts';
import { elementCount } from './tensor-bytes.ts';

/** Decodes a tensor of F32, F16 or BF16, row by row. `bytes` must be exactly the tensor's own. */
export function pairValues(tensor: SafetensorsTensor, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  return dequantize(tensor.type as TensorType, bytes, elementCount(tensor.shape)!);
}

/**
 * Throws `adapter_invalid` for a NaN, an infinity, or values that could overflow into them. They would end the
 * sequences with this adapter; and on a device, where unused places of a row take zero times another row's product,
 * they would turn other callers' rows into NaN. Returns warnings.
 */
export function checkAdapterValues(
  adapter: PeftAdapter,
  bytesOf: (tensor: SafetensorsTensor) => Uint8Array,
): readonly string[] {
  let allZero = true;
  for (const pair of adapter.pairs) {
    const { loraA, loraB, magnitude } = pair;
    for (const tensor of [loraA, loraB, magnitude]) {
      if (tensor === null) continue;
      const largest = finiteMagnitude(tensor, bytesOf(tensor));
      if (tensor === loraB && largest > 0) allZero = false;
    }
    const growth = growthOf(pair, pairValues(loraA, bytesOf(loraA)), pairValues(loraB, bytesOf(loraB)));
    if (growth > limits.adapterGrowth) {
      invalidAdapter(loraB.name, `makes its input up to ${growth.toExponential(1)} times larger: it would overflow`);
    }
  }
  if (!allZero) return [];
  return [`Every lora_B is zero: the adapter adds nothing${adapter.usesDora ? ' beyond its magnitudes' : ''}.`];
}

/** Checks LoRA on the embedding as `checkAdapterValues` checks pairs. A token takes one column of A. */
export function checkEmbeddingPair(
  { scaling, r, loraA, loraB }: EmbeddingPair,
  bytesOf: (tensor: SafetensorsTensor) => Uint8Array,
): void {
  for (const tensor of [loraA, loraB]) finiteMagnitude(tensor, bytesOf(tensor));
  const a = pairValues(loraA, bytesOf(loraA));
  const b = pairValues(loraB, bytesOf(loraB));
  const vocabulary = a.length / r;
  const most = new Float64Array(r);
  for (let rank = 0; rank < r; rank++) {
    for (let i = rank * vocabulary; i < (rank + 1) * vocabulary; i++)
      most[rank] = Math.max(most[rank]!, Math.abs(a[i]!));
  }
  let largest = 0;
  for (let at = 0; at < b.length; at += r) {
    const sum = most.reduce((sum, value, j) => sum + value * Math.abs(b[at + j]!), 0);
    largest = Math.max(largest, sum * Math.abs(scaling));
  }
  if (largest > limits.adapterGrowth) {
    invalidAdapter(loraB.name, `adds up to ${largest.toExponential(1)} to an embedding: it would overflow`);
  }
}

/** Checks the rows of trained tokens, [tokens, hidden], in the same way. */
export function checkTokenRows(rows: SafetensorsTensor, bytes: Uint8Array): void {
  finiteMagnitude(rows, bytes);
  const values = pairValues(rows, bytes);
  const width = rows.shape[1]!;
  for (let at = 0; at < values.length; at += width) {
    const sum = values.subarray(at, at + width).reduce((sum, value) => sum + Math.abs(value), 0);
    if (sum > limits.adapterGrowth)
      invalidAdapter(rows.name, `has a row of ${sum.toExponential(1)}: it would overflow`);
  }
}

/** Bounds what scaling * B A can add to an output for inputs of at most 1: the largest row sum of |scaling * B| |A|. */
function growthOf({ r, scaling }: AdapterPair, a: Float32Array, b: Float32Array): number {
  const inputs = a.length / r;
  const sums = new Float64Array(r);
  for (let j = 0; j < r; j++) {
    for (let i = j * inputs; i < (j + 1) * inputs; i++) sums[j]! += Math.abs(a[i]!);
  }
  let most = 0;
  for (let at = 0; at < b.length; at += r) {
    let sum = 0;
    for (let j = 0; j < r; j++) sum += Math.abs(b[at + j]!) * sums[j]!;
    most = Math.max(most, sum);
  }
  return most * Math.abs(scaling);
}

/** The bits of infinity. Larger bits are NaNs. */
const infinity = { F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80 } as const;

/** Gives the largest magnitude as bits. Throws `adapter_invalid` for a NaN or an infinity. */
export function finiteMagnitude(tensor: SafetensorsTensor, bytes: Uint8Array): number {
  const largest = largestMagnitude(tensor, bytes);
  if (largest < infinity[tensor.type as keyof typeof infinity]) return largest;
  return invalidAdapter(tensor.name, 'holds a NaN or an infinity');
}

/** Finds the largest value as bits without the sign: floats are ordered as their bits are. */
function largestMagnitude({ type, bytes: expected }: SafetensorsTensor, bytes: Uint8Array): number {
  if (bytes.length !== expected) throw new Error(`${bytes.length} bytes are not the ${expected} of the tensor`);
  const width = type === 'F32' ? 4 : 2;
  // Views need an aligned start, which a tensor in the middle of a file may lack.
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const count = bytes.length / width;
  return width === 4
    ? largest(new Uint32Array(aligned.buffer, aligned.byteOffset, count), 0x7fffffff)
    : largest(new Uint16Array(aligned.buffer, aligned.byteOffset, count), 0x7fff);
}

function largest(values: Uint32Array | Uint16Array, mask: number): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    const bits = values[i]! & mask;
    if (bits > most) most = bits;
  }
  return most;
}
