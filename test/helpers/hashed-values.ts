// make-gradients.py's `values`: adapters that no file holds.

export function hashedValues(count: number, salt: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: count },
    (_, i) => (((i * 2654435761 + salt * 97531) % 2 ** 32) / 2 ** 32 - 0.5) * 0.4,
  );
}
