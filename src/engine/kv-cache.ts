// The KV pool: one row a sequence, keys and values of every layer. Memory is reserved whole and touched as it fills, so
// idle rows cost address space only.
//
//   keys[layer], values[layer]: [2 + rows, kvHeads, positions, headDim]

import type { ModelShape } from '../core/base-model.ts';
import type { Runtime, Tensor } from '../runtime/session.ts';

/** No sequence's: it lies before row 0, so that both are one range. */
export const spareRow = -1;

/** No sequence's either: what runs there disturbs nobody, and nobody disturbs it. */
export const probeRow = -2;

const firstRow = probeRow;

export type KvCache = {
  readonly rows: number;
  readonly positions: number;
  readonly bytes: number;
  /** Rows [first, first + count) of a layer, in place, [count, kvHeads, positions, headDim]; the caller releases it. */
  key(layer: number, first: number, count: number): Tensor;
  value(layer: number, first: number, count: number): Tensor;
  /** Copies the first `length` positions of a row over another's. */
  move(from: number, to: number, length: number): void;
  /** Two rows change places, as far as `length` positions. */
  swap(one: number, other: number, length: number): void;
  /** Before a run over rows from `first` on: what was asked for is done, and their tensors hold them. */
  enter(first: number, pasts: readonly number[]): Promise<void> | void;
  /** After it. */
  leave(first: number, count: number): Promise<void> | void;
  release(): void;
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
    key: (layer, first, count) => view(keys, layer, first, count),
    value: (layer, first, count) => view(values, layer, first, count),
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
    enter() {},
    leave() {},
    release() {},
  };
}
