// Keys and values of the running sequences, a row each. Where they lie is the implementation's: in blocks on the
// processor (kv/host-kv.ts), in rows on a device (device/device-kv.ts, device/anchored-kv.ts).

import type { Tensor } from '../runtime/session.ts';
import type { PrefixChain } from './kv/prefix-cache.ts';

/** No sequence's: what runs there disturbs nobody, and nobody disturbs it. */
export const probeRow = -1;

export type KvCache = {
  readonly rows: number;
  readonly positions: number;
  readonly bytes: number;
  /** Row `to` is what row `from` was, as far as `length` positions; row `from` holds nothing that anybody reads. */
  move(from: number, to: number, length: number): void;
  /** Two rows change places, as far as `length` positions. */
  swap(one: number, other: number, length: number): void;
  /**
   * `work` runs over rows from `first` on, which hold `pasts` tokens and take `added` more each, after all that was
   * asked for before; what is written there while it runs they hold afterwards. Meanwhile rows may be moved, not be
   * used by others. A row that holds nothing begins anew.
   */
  use<T>(first: number, pasts: readonly number[], added: number, work: (range: KvRange) => Promise<T>): Promise<T>;
  /** null where a row cannot begin with another's keys and values. */
  readonly prefixes: Prefixes | null;
  /** Says how many merged models there are, whose rows decode apart from the base's: memory for that comes and goes. */
  expectGroups(count: number): Promise<void>;
  release(): void;
};

/** Beginnings of prompts that were computed before: by prompts alone, as a prompt would compute them again. */
export type Prefixes = {
  /** An empty row begins with the longest known prefix, in whole blocks, of at most `count` tokens: with so many. */
  begin(row: number, chain: PrefixChain, count: number): number;
  /** The row's first `count` tokens, all of the chain's prompt, are known from now on, in whole blocks. */
  keep(row: number, chain: PrefixChain, count: number): void;
  /** Blocks that are known, and bytes of one. */
  readonly blocks: number;
  readonly blockBytes: number;
};

/** Keys and values of every layer, in place, as the graph takes them; the caller releases tensors. */
export type KvRange = {
  /** Of as many rows, the same place has the same tensors. */
  readonly place: string;
  /** Each row's blocks in the order of positions; null where rows of the tensors are the range's. */
  readonly blocks: readonly (readonly number[])[] | null;
  /** The tensors' row i is the range's row `order[i]`; null where it is row i. */
  readonly order: readonly number[] | null;
  key(layer: number): Tensor;
  value(layer: number): Tensor;
};
