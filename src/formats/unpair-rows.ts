// Converts the row order of some families' GGUF files. GGUF keeps the two numbers that rotary positions turn together
// in neighbouring rows (2j, 2j + 1 of a head). In Hugging Face's order, which PEFT's adapters and the graph use, they
// are half a head apart (j, j + headDim / 2).

import type { Architecture } from '../core/base-model.ts';

/** Architectures whose GGUF files have that order in q_proj and k_proj. */
export const pairedArchitectures: ReadonlySet<Architecture> = new Set(['llama', 'smollm3', 'granite']);

/** Gives the place in GGUF's order of a row in Hugging Face's order. */
export function pairedRow(row: number, headDim: number): number {
  const at = row % headDim;
  const half = headDim / 2;
  return row - at + (at < half ? 2 * at : 2 * (at - half) + 1);
}

/** Gives the place in Hugging Face's order of a row in GGUF's order. */
export function unpairedRow(row: number, headDim: number): number {
  const at = row % headDim;
  return row - at + (at % 2 === 0 ? at / 2 : (headDim + at - 1) / 2);
}

/** Puts GGUF's [heads · headDim] rows in Hugging Face's order. Rows are moved whole, so quantised ones stay valid. */
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
