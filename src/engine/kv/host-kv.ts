// Keys and values in memory that JavaScript has: a pool of blocks of few tokens, and a list of blocks for each row.
// Rows move by renaming. Full blocks of prompts stay when their row has ended, and other rows begin with them. Nothing
// is written into a block that anybody else reads, since a row writes behind its full blocks only. The pool's memory
// is reserved whole and touched as blocks are first used.
//
//   keys[layer]:   [blocks, kvHeads, headDim, kvBlock]
//   values[layer]: [blocks, kvHeads, kvBlock, headDim]

import type { ModelShape } from '../../core/base-model.ts';
import { kvBlock } from '../../graph/decoder.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { type KvCache, type Prefixes, probeRow } from '../kv-cache.ts';
import { PrefixCache } from './prefix-cache.ts';

export type HostKvForm = {
  readonly rows: number;
  readonly positions: number;
  readonly type: Real;
  /** For prefixes that no row holds. */
  readonly prefixBytes: number;
};

export function createHostKv(
  runtime: Runtime,
  { layers, kvHeads, headDim }: ModelShape,
  { rows, positions, type, prefixBytes }: HostKvForm,
): KvCache {
  const blockElements = kvHeads * headDim * kvBlock;
  const blockBytes = 2 * layers * blockElements * (type === 'float16' ? 2 : 4);
  const prefixBlocks = Math.floor(prefixBytes / blockBytes);
  const blocks = (rows - probeRow) * Math.ceil(positions / kvBlock) + prefixBlocks;
  const memoryOf = (count: number) => (type === 'float16' ? new Float16Array(count) : new Float32Array(count));
  const pool = () => Array.from({ length: layers }, () => memoryOf(blocks * blockElements));
  const keys = pool();
  const values = pool();
  // The block that was let go last is taken first: its memory is touched already.
  const free = Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
  /** Rows that hold a block, and one more where it is a known prefix. */
  const holders = new Uint32Array(blocks);
  const held = Array.from({ length: rows - probeRow }, (): number[] => []);
  const heldBy = (row: number) => held[row - probeRow]!;
  const take = (block: number) => {
    holders[block]!++;
    return block;
  };
  const letGo = (block: number) => {
    if (--holders[block]! === 0) free.push(block);
  };
  const clear = (row: number) => heldBy(row).splice(0).reverse().forEach(letGo);
  const exchange = (one: number, other: number) => {
    const [a, b] = [heldBy(one), heldBy(other)];
    held[one - probeRow] = b;
    held[other - probeRow] = a;
  };
  const cache = new PrefixCache({ blocksMax: prefixBlocks, onForget: letGo });
  const prefixes: Prefixes = {
    begin(row, chain, count) {
      clear(row);
      const found = cache.find(chain, Math.floor(count / kvBlock));
      heldBy(row).push(...found.map(take));
      return found.length * kvBlock;
    },
    keep(row, chain, count) {
      for (const [index, block] of heldBy(row)
        .slice(0, Math.floor(count / kvBlock))
        .entries()) {
        // Taken first: what is added may at once be what has to go.
        take(block);
        if (!cache.add(chain, index, block)) letGo(block);
      }
    },
    get blocks() {
      return cache.size;
    },
    blockBytes,
  };
  return {
    rows,
    positions,
    bytes: blocks * blockBytes,
    prefixes: prefixBlocks === 0 ? null : prefixes,
    move(from, to) {
      exchange(from, to);
      clear(from);
    },
    swap: exchange,
    use(first, pasts, added, work) {
      const lists = pasts.map((past, i) => {
        if (past === 0) clear(first + i);
        const list = heldBy(first + i);
        while (list.length * kvBlock < past + added) list.push(take(free.pop()!));
        return list;
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
