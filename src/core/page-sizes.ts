// Units in which engines hand out memory, and in which memory plans count.

import type { ModelShape } from './base-model.ts';

/** Ranks in one adapter page. */
export const pageRanks = 8;

/** Bits of an adapter's values in memory. */
export type AdapterBits = 16 | 8;

/** Consecutive values of one rank of A, and of B, in a page on the processor. */
export const pageBlocks = { a: 32, b: 64 } as const;

/** 16-bit elements in front of a page's 8-bit codes. */
export const pageHeader = 32;

/** Counts the 16-bit elements of a page of 8 ranks with `width` values each, on the processor. */
export function pageElements(width: number, block: number, bits: AdapterBits): number {
  const values = pageRanks * Math.ceil(width / block) * block;
  return bits === 16 ? values : pageHeader + values / 2;
}

/**
 * Counts the 16-bit elements of one rank with `width` values, stored as a row. At 8 bits: one scale, then two codes in
 * each element.
 */
export const rankElements = (width: number, bits: AdapterBits): number =>
  bits === 16 ? width : 1 + Math.ceil(width / 2);

/** Tokens in one KV block on the processor. */
export const kvBlock = 32;

/** Numbers of one token's keys and values, in all layers. */
export const kvTokenElements = ({ layers, kvHeads, headDim }: ModelShape): number => 2 * layers * kvHeads * headDim;
