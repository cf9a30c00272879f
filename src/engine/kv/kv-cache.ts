// The KV cache: keys and values of running sequences, a row each. The implementation knows where they lie: in blocks of
// a pool (kv/block-kv.ts), or in rows of a device's memory (kv/device-kv.ts).

import type { Tensor } from '../../runtime/session.ts';
import type { PrefixChain } from './prefix-cache.ts';

/** A row for probes. It belongs to no sequence and shares nothing with sequences' rows. */
export const probeRow = -1;

/**
 * A row that belongs to no sequence and holds one token, which nothing reads. A run over blocks may contain it any
 * number of times.
 */
export const idleRow = -2;

export type KvCache = {
  readonly rows: number;
  readonly positions: number;
  readonly bytes: number;
  /** Tokens of the unit in which rows get memory: a block of a pool, or `positions` where a row is one piece. */
  readonly blockTokens: number;
  /** Most such units that sequences' rows may have together. */
  readonly blocks: number;
  /** Whether there is room for `tokens` more, beside some for each of `rows` rows to grow by. */
  hasRoom(tokens: number, rows: number): boolean;
  /** Makes room for `length` tokens in a row; false where there is not enough. */
  reserve(row: number, length: number): boolean;
  /** Empties the row. */
  clear(row: number): void;
  /** Share of the room that rows take. */
  readonly usage: number;
  /**
   * Calls `work` for rows that hold `pasts` tokens and take `added` more each, after all calls before it have ended.
   * Afterwards the rows hold what `work` wrote. A row with a past of 0 begins anew.
   */
  use<T>(
    rows: readonly number[],
    pasts: readonly number[],
    added: readonly number[],
    work: (range: KvRange) => Promise<T>,
  ): Promise<T>;
  /** null where keys and values come from runs alone. */
  readonly write: KvWriter | null;
  /** null where a row cannot begin with another row's keys and values. */
  readonly prefixes: Prefixes | null;
  /**
   * Tells how many merged models there are, whose rows decode apart from the base's; the memory for that comes and
   * goes.
   */
  expectGroups(count: number): Promise<void>;
  release(): void;
};

/**
 * Writes keys and values of positions [first, end), for which the row has room.
 * @param values by position: [positions, layers, key and value, kvHeads, headDim]
 */
export type KvWriter = (row: number, first: number, end: number, values: Float32Array) => void;

/** Beginnings of sequences that were computed before, bit for bit what would be computed again. */
export type Prefixes = {
  /**
   * Lets an empty row begin with the longest known prefix of at most `count` tokens, in whole blocks, or with what its
   * sequence left when it was preempted. Gives the number of tokens that the row then holds.
   */
  begin(row: number, chain: PrefixChain, count: number): number;
  /** Registers the row's first `count` tokens, which are the chain's, in whole blocks. */
  keep(row: number, chain: PrefixChain, count: number): void;
  /**
   * As `keep`, for a sequence that loses its row: its last block stays too, for this sequence alone, though it is not
   * full.
   */
  leave(row: number, chain: PrefixChain, count: number): void;
  /** Number of known blocks. */
  readonly blocks: number;
  readonly blockBytes: number;
  readonly blockTokens: number;
};

/** Keys and values of every layer, in place, in the form that the graph takes; the caller releases the tensors. */
export type KvRange = {
  /** Names the memory: for equal numbers of rows, equal names mean the same tensors. */
  readonly place: string;
  /** Each row's blocks in the order of positions; null where the tensors consist of the range's own rows. */
  readonly blocks: readonly (readonly number[])[] | null;
  /** Row i of the tensors is row `order[i]` of the range; null where the order is the same. */
  readonly order: readonly number[] | null;
  key(layer: number, rows?: number): Tensor;
  value(layer: number, rows?: number): Tensor;
  /**
   * Tokens that each of the `count` places behind the range's rows holds, for runs that take idle places along; only in
   * caches of rows.
   */
  beside?(count: number): readonly number[];
};
