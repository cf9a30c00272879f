// The KV pool: one row a sequence, keys and values of every layer. Memory is reserved whole and touched as it fills, so
// idle rows cost address space only.
//
//   keys[layer], values[layer]: [1 + rows, kvHeads, positions, headDim]

import type { ModelShape } from '../core/base-model.ts';
import type { Runtime, Tensor } from '../runtime/session.ts';

/** No sequence's: what runs there disturbs nobody, and nobody disturbs it. */
export const probeRow = -1;

const firstRow = probeRow;

export type KvCache = {
  readonly rows: number;
  readonly positions: number;
  readonly bytes: number;
  /** Row `to` is what row `from` was, as far as `length` positions; row `from` holds nothing that anybody reads. */
  move(from: number, to: number, length: number): void;
  /** Two rows change places, as far as `length` positions. */
  swap(one: number, other: number, length: number): void;
  /**
   * `work` runs over rows from `first` on, which hold `pasts` tokens, after all that was asked for before; what is
   * written there while it runs they hold afterwards. Meanwhile rows may be moved, not be used by others.
   */
  use<T>(first: number, pasts: readonly number[], work: (range: KvRange) => Promise<T>): Promise<T>;
  /** Says how many merged models there are, whose rows decode apart from the base's: memory for that comes and goes. */
  expectGroups(count: number): Promise<void>;
  release(): void;
};

/** Neighbouring rows of every layer, in place, [count, kvHeads, positions, headDim]; the caller releases tensors. */
export type KvRange = {
  /** Of as many rows, the same place has the same tensors. */
  readonly place: string;
  /** The tensors' row i is the range's row `order[i]`; null where it is row i. */
  readonly order: readonly number[] | null;
  key(layer: number): Tensor;
  value(layer: number): Tensor;
};

/** In memory that JavaScript has. */
export function createKvCache(runtime: Runtime, shape: ModelShape, rows: number, positions: number): KvCache {
  const headElements = positions * shape.headDim;
  const rowElements = shape.kvHeads * headElements;
  const pool = () => Array.from({ length: shape.layers }, () => new Float32Array((rows - firstRow) * rowElements));
  const keys = pool();
  const values = pool();
  const view = (layers: Float32Array[], layer: number, first: number, count: number) => {
    const start = (first - firstRow) * rowElements;
    const data = layers[layer]!.subarray(start, start + count * rowElements);
    return runtime.tensor(data, [count, shape.kvHeads, positions, shape.headDim]);
  };
  const forEachHead = (
    one: number,
    other: number,
    length: number,
    visit: (a: Float32Array, b: Float32Array) => void,
  ) => {
    for (const layer of [...keys, ...values]) {
      for (let head = 0; head < shape.kvHeads; head++) {
        const held = (row: number) => {
          const start = (row - firstRow) * rowElements + head * headElements;
          return layer.subarray(start, start + length * shape.headDim);
        };
        visit(held(one), held(other));
      }
    }
  };
  return {
    rows,
    positions,
    bytes: 2 * shape.layers * (rows - firstRow) * rowElements * Float32Array.BYTES_PER_ELEMENT,
    move(from, to, length) {
      forEachHead(from, to, length, (source, target) => target.set(source));
    },
    swap(one, other, length) {
      const kept = new Float32Array(length * shape.headDim);
      forEachHead(one, other, length, (a, b) => {
        kept.set(a);
        a.set(b);
        b.set(kept);
      });
    },
    use: (first, { length }, work) =>
      work({
        ...{ place: `${first}`, order: null },
        key: (layer) => view(keys, layer, first, length),
        value: (layer) => view(values, layer, first, length),
      }),
    expectGroups: async () => {},
    release() {},
  };
}
