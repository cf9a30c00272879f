// The KV pool: one row a sequence, keys and values of every layer. Memory is reserved whole and touched as it fills, so
// idle rows cost address space only.
//
//   keys[layer], values[layer]: [spare + rows, kvHeads, positions, headDim]

import type { ModelShape } from '../core/base-model.ts';

/** No sequence's: it lies before row 0, so that both are one range. */
export const spareRow = -1;

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
};

export function createKvCache(shape: ModelShape, rows: number, positions: number): KvCache {
  const headElements = positions * shape.headDim;
  const rowElements = shape.kvHeads * headElements;
  const pool = () => Array.from({ length: shape.layers }, () => new Float32Array((rows - spareRow) * rowElements));
  const keys = pool();
  const values = pool();
  const view = (layers: Float32Array[], layer: number, first: number, count: number) =>
    layers[layer]!.subarray((first - spareRow) * rowElements, (first - spareRow + count) * rowElements);
  return {
    rows,
    positions,
    windowShape: (count) => [count, shape.kvHeads, positions, shape.headDim],
    keys: (layer, first, count) => view(keys, layer, first, count),
    values: (layer, first, count) => view(values, layer, first, count),
    move(from, to, length) {
      for (const layer of [...keys, ...values]) {
        for (let head = 0; head < shape.kvHeads; head++) {
          const start = (from - spareRow) * rowElements + head * headElements;
          layer.copyWithin((to - spareRow) * rowElements + head * headElements, start, start + length * shape.headDim);
        }
      }
    },
  };
}
