// What engines hand out memory in, by which plans of memory count.

/** Ranks of a page of adapters. */
export const pageRanks = 8;

/** Of an adapter's values in memory. */
export type AdapterBits = 16 | 8;

/** Values of each rank of A and of B that lie side by side in a page on the processor. */
export const pageBlocks = { a: 32, b: 64 } as const;

/** Elements of 16 bits before a page's codes of 8. */
export const pageHeader = 32;

/** Elements of 16 bits of a page of 8 ranks of `width` values, on the processor. */
export function pageElements(width: number, block: number, bits: AdapterBits): number {
  const values = pageRanks * Math.ceil(width / block) * block;
  return bits === 16 ? values : pageHeader + values / 2;
}

/** Elements of 16 bits that a rank of `width` values takes as a row: at 8 bits a scale, and two codes in each. */
export const rankElements = (width: number, bits: AdapterBits): number =>
  bits === 16 ? width : 1 + Math.ceil(width / 2);

/** Tokens of a block of keys and values on the processor. */
export const kvBlock = 32;
