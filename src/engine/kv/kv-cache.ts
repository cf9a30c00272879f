// Keys and values of the running sequences, a row each. Where they lie is the implementation's: in blocks of a pool
// (kv/block-kv.ts), or in rows of a device's (kv/device-kv.ts).

import type { Tensor } from '../../runtime/session.ts';
import type { PrefixChain } from './prefix-cache.ts';

/** No sequence's: what runs there disturbs nobody, and nobody disturbs it. */
export const probeRow = -1;

/** No sequence's: it holds one token, which nobody reads. A run over blocks may take it along any number of times. */
export const idleRow = -2;

export type KvCache = {
  readonly rows: number;
  readonly positions: number;
  readonly bytes: number;
  /** Whether there is room for so many tokens more, beside some for each of `rows` rows to grow by. */
  hasRoom(tokens: number, rows: number): boolean;
  /** Makes room for `length` tokens in a row; false where there is none. */
  reserve(row: number, length: number): boolean;
  /** The row holds nothing any more. */
  clear(row: number): void;
  /** Of all room, the share that rows take. */
  readonly usage: number;
  /**
   * `work` runs over rows that hold `pasts` tokens and take `added` more each, after all that was asked for before;
   * what is written there while it runs they hold afterwards. A row that holds nothing begins anew.
   */
  use<T>(
    rows: readonly number[],
    pasts: readonly number[],
    added: readonly number[],
    work: (range: KvRange) => Promise<T>,
  ): Promise<T>;
  /** null where keys and values come from runs alone. */
  readonly write: KvWriter | null;
  /** null where a row cannot begin with another's keys and values. */
  readonly prefixes: Prefixes | null;
  /** Says how many merged models there are, whose rows decode apart from the base's: memory for that comes and goes. */
  expectGroups(count: number): Promise<void>;
  release(): void;
};

/**
 * Writes keys and values of positions [first, end), for which the row has room.
 * @param values by position: [positions, layers, key and value, kvHeads, headDim]
 */
export type KvWriter = (row: number, first: number, end: number, values: Float32Array) => void;

/** Beginnings of sequences that were computed before, with the bits that they would have again. */
export type Prefixes = {
  /**
   * An empty row begins with the longest known prefix of at most `count` tokens, in whole blocks, or with what its
   * sequence left: with so many.
   */
  begin(row: number, chain: PrefixChain, count: number): number;
  /** The row's first `count` tokens, all of the chain's, are known from now on, in whole blocks. */
  keep(row: number, chain: PrefixChain, count: number): void;
  /** The same for a sequence that loses its row: the last block too, though it is not full, is there for it alone. */
  leave(row: number, chain: PrefixChain, count: number): void;
  /** Blocks that are known, and bytes and tokens of one. */
  readonly blocks: number;
  readonly blockBytes: number;
  readonly blockTokens: number;
};

/** Keys and values of every layer, in place, as the graph takes them; the caller releases tensors. */
export type KvRange = {
  /** Of as many rows, the same place has the same tensors. */
  readonly place: string;
  /** Each row's blocks in the order of positions; null where the tensors' rows are the range's. */
  readonly blocks: readonly (readonly number[])[] | null;
  /** The tensors' row i is the range's row `order[i]`; null where it is row i. */
  readonly order: readonly number[] | null;
  key(layer: number, rows?: number): Tensor;
  value(layer: number, rows?: number): Tensor;
  /** Tokens that each of `count` places behind the range's rows holds, which a run may take along; of rows alone. */
  beside?(count: number): readonly number[];
};
