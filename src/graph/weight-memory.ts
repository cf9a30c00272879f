// Memory for the weights of one model. Many linears are smaller than a huge page; side by side in large blocks all of
// them can lie on huge pages (runtime/huge-pages.ts).

/** Gives zeroed memory of `bytes` bytes, aligned for any type. */
export type TakeMemory = (bytes: number) => Uint8Array<ArrayBuffer>;

const alignment = 64;
const mebibyte = 2 ** 20;
/**
 * Bytes of a block: each is twice as large as the last, so that a tiny model takes little. Memory is not touched before
 * it is written.
 */
const blockBytes = { first: 4 * mebibyte, most: 64 * mebibyte };

export function weightMemory(): TakeMemory {
  let next = blockBytes.first;
  let block = new ArrayBuffer(0);
  let used = 0;
  return (bytes) => {
    if (used + bytes > block.byteLength) {
      block = new ArrayBuffer(Math.max(next, bytes));
      used = 0;
      next = Math.min(2 * next, blockBytes.most);
    }
    const taken = new Uint8Array(block, used, bytes);
    used += Math.ceil(bytes / alignment) * alignment;
    return taken;
  };
}
