// Keys and values in memory that JavaScript has: a pool of blocks of few tokens, and a list of blocks for each row. Rows
// move by renaming. The pool's memory is reserved whole and touched as blocks are first used.
//
//   keys[layer]:   [blocks, kvHeads, headDim, kvBlock]
//   values[layer]: [blocks, kvHeads, kvBlock, headDim]

import type { ModelShape } from '../../core/base-model.ts';
import { kvBlock } from '../../graph/decoder.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { type KvCache, probeRow } from '../kv-cache.ts';

export function createHostKv(
  runtime: Runtime,
  { layers, kvHeads, headDim }: ModelShape,
  { rows, positions, type }: { readonly rows: number; readonly positions: number; readonly type: Real },
): KvCache {
  const blocksOfRow = Math.ceil(positions / kvBlock);
  const blocks = (rows - probeRow) * blocksOfRow;
  const blockElements = kvHeads * headDim * kvBlock;
  const memoryOf = (count: number) => (type === 'float16' ? new Float16Array(count) : new Float32Array(count));
  const pool = () => Array.from({ length: layers }, () => memoryOf(blocks * blockElements));
  const keys = pool();
  const values = pool();
  // The block that was let go last is taken first: its memory is touched already.
  const free = Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
  const held = Array.from({ length: rows - probeRow }, (): number[] => []);
  const heldBy = (row: number) => held[row - probeRow]!;
  const hold = (row: number, tokens: number) => {
    const list = heldBy(row);
    while (list.length * kvBlock < tokens) list.push(free.pop()!);
  };
  const letGo = (row: number) => free.push(...heldBy(row).splice(0).reverse());
  const exchange = (one: number, other: number) => {
    const [a, b] = [heldBy(one), heldBy(other)];
    held[one - probeRow] = b;
    held[other - probeRow] = a;
  };
  return {
    rows,
    positions,
    bytes: 2 * layers * blocks * blockElements * keys[0]!.BYTES_PER_ELEMENT,
    move(from, to) {
      exchange(from, to);
      letGo(from);
    },
    swap: exchange,
    use(first, pasts, added, work) {
      const lists = pasts.map((past, i) => {
        if (past === 0) letGo(first + i);
        hold(first + i, past + added);
        return heldBy(first + i);
      });
      return work({
        ...{ place: 'pool', order: null, blocks: lists },
        key: (layer) => runtime.tensor(keys[layer]!, [blocks, kvHeads, headDim, kvBlock]),
        value: (layer) => runtime.tensor(values[layer]!, [blocks, kvHeads, kvBlock, headDim]),
      });
    },
    expectGroups: async () => {},
    release() {},
  };
}
