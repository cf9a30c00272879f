// What engines hand out memory in, by which plans of memory count.

/** Ranks of a page of adapters. */
export const pageRanks = 8;

/** Tokens of a block of keys and values on the processor. */
export const kvBlock = 32;
