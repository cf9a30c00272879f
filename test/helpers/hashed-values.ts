// The function `values` of make-gradients.py: values of adapters that are in no file.

export function hashedValues(count: number, salt: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: count },
    (_, i) => (((i * 2654435761 + salt * 97531) % 2 ** 32) / 2 ** 32 - 0.5) * 0.4,
  );
}
