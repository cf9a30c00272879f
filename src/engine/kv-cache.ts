// The KV pool: one row a sequence, keys and values of every layer. Memory is reserved whole and touched as it fills, so
// idle rows cost address space only.
//
//   keys[layer], values[layer]: [2 + rows, kvHeads, positions, headDim]

import type { ModelShape } from '../core/base-model.ts';

/** No sequence's: it lies before row 0, so that both are one range. */
export const spareRow = -1;

/** No sequence's either: what runs there disturbs nobody, and nobody disturbs it. */
export const probeRow = -2;

const firstRow = probeRow;

export type KvCache = {
  readonly rows: number;
  readonly positions: number;
  /** Shape of a range of `count` rows. */
  windowShape(count: number): readonly number[];
  /** Rows [first, first + count) of a layer, in place. */
  keys(layer: number, first: number, count: number): Float32Array;
  values(layer: number, first: number, count: number): Float32Array;
  /** Copies the first `length` positions of a row over another's. */
  move(from: number, to: number, length: number): void;
  /** Two rows change places, as far as `length` positions. */
  swap(one: number, other: number, length: number): void;
};

export function createKvCache(shape: ModelShape, rows: number, positions: number): KvCache {
  const headElements = positions * shape.headDim;
  const rowElements = shape.kvHeads * headElements;
  const pool = () => Array.from({ length: shape.layers }, () => new Float32Array((rows - firstRow) * rowElements));
  const keys = pool();
  const values = pool();
  const view = (layers: Float32Array[], layer: number, first: number, count: number) =>
    layers[layer]!.subarray((first - firstRow) * rowElements, (first - firstRow + count) * rowElements);
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
    windowShape: (count) => [count, shape.kvHeads, positions, shape.headDim],
    keys: (layer, first, count) => view(keys, layer, first, count),
    values: (layer, first, count) => view(values, layer, first, count),
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
  };
}
