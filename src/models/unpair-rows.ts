// Undoes the row order of Llama-type GGUF files.

/**
 * GGUF keeps the two numbers that rotary turns together in neighbouring rows (2j, 2j + 1 of a head); Hugging Face's
 * order, which PEFT's adapters and our graph use, has them half a head apart (j, j + headDim / 2). Rows are moved
 * whole, so quantised ones stay as they are. `bytes` is [heads · headDim] rows.
 */
export function unpairRows(bytes: Uint8Array, heads: number, headDim: number): Uint8Array {
  const rowBytes = bytes.length / (heads * headDim);
  const half = headDim / 2;
  const ordered = new Uint8Array(bytes.length);
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < headDim; row++) {
      const source = head * headDim + (row < half ? 2 * row : 2 * (row - half) + 1);
      const target = head * headDim + row;
      ordered.set(bytes.subarray(source * rowBytes, (source + 1) * rowBytes), target * rowBytes);
    }
  }
  return ordered;
}
