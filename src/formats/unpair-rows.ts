// The row order of some families' GGUF files, and back. GGUF keeps the two numbers that rotary turns together in
// neighbouring rows (2j, 2j + 1 of a head); Hugging Face's order, which PEFT's adapters and our graph use, has them
// half a head apart (j, j + headDim / 2).

import type { Architecture } from '../core/base-model.ts';

/** Whose GGUF files have that order in q_proj and k_proj. */
export const pairedArchitectures: ReadonlySet<Architecture> = new Set(['llama', 'smollm3', 'granite']);

/** Where a row of Hugging Face's order stands in GGUF's. */
export function pairedRow(row: number, headDim: number): number {
  const at = row % headDim;
  const half = headDim / 2;
  return row - at + (at < half ? 2 * at : 2 * (at - half) + 1);
}

/** Where a row of GGUF's order stands in Hugging Face's. */
export function unpairedRow(row: number, headDim: number): number {
  const at = row % headDim;
  return row - at + (at % 2 === 0 ? at / 2 : (headDim + at - 1) / 2);
}

/** GGUF's rows in Hugging Face's order, moved whole, so quantised ones stay as they are: [heads · headDim] rows. */
export function unpairRows(bytes: Uint8Array, heads: number, headDim: number): Uint8Array {
  const rows = heads * headDim;
  const rowBytes = bytes.length / rows;
  const ordered = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const source = pairedRow(row, headDim) * rowBytes;
    ordered.set(bytes.subarray(source, source + rowBytes), row * rowBytes);
  }
  return ordered;
}
