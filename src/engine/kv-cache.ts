// Keys and values of the running sequences, a row each. Where they lie is the implementation's: in blocks on the
// processor (kv/host-kv.ts), in rows on a device (device/device-kv.ts, device/anchored-kv.ts).

import type { Tensor } from '../runtime/session.ts';

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
   * `work` runs over rows from `first` on, which hold `pasts` tokens and take `added` more each, after all that was asked
   * for before; what is written there while it runs they hold afterwards. Meanwhile rows may be moved, not be used by
   * others. A row that holds nothing begins anew.
   */
  use<T>(first: number, pasts: readonly number[], added: number, work: (range: KvRange) => Promise<T>): Promise<T>;
  /** Says how many merged models there are, whose rows decode apart from the base's: memory for that comes and goes. */
  expectGroups(count: number): Promise<void>;
  release(): void;
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
