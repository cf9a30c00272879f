// The KV cache as a pool of blocks of few tokens, of which each row has a list. Full blocks stay when their row has
// ended, and other rows can begin with them. A row writes only behind its full blocks, so nothing is written into a
// block that another row reads. Knows which block is whose; `BlockMemory` knows where the pool lies.

import { limits } from '../../core/limits.ts';
import type { Tensor } from '../../runtime/session.ts';
import { BlockLists } from './block-lists.ts';
import { idleRow, type KvCache, type Prefixes } from './kv-cache.ts';

export type BlockMemory = {
  /** Resolves when the memory can be used; null where it can be at once. */
  readonly ready: Promise<void> | null;
  /** The keys of all blocks of a layer. */
  key(layer: number): Tensor;
  value(layer: number): Tensor;
  /** Writes one token's keys and values, taken from `values` of all positions; null where they come from runs alone. */
  readonly write: ((block: number, position: number, values: Float32Array) => void) | null;
  release(): void;
};

export type BlockKvForm = {
  readonly rows: number;
  readonly positions: number;
  /** Tokens of a block; `blockBytes` are its bytes in all layers. */
  readonly length: number;
  readonly blockBytes: number;
  /** Bytes for what rows hold, bounded by one context and by one for each row; the upper bound by default. */
  readonly bytes?: number;
  /** Bytes for prefixes that no row holds, beside `bytes`. */
  readonly prefixBytes: number;
  /** Whether runs may take idle rows along. */
  readonly hasIdle: boolean;
};

/** Numbers of blocks by their purpose. */
function blocksOf(form: BlockKvForm) {
  const { rows, positions, length, blockBytes, prefixBytes, hasIdle } = form;
  const prefixBlocks = Math.floor(prefixBytes / blockBytes);
  const ofContext = Math.ceil(positions / length);
  const most = rows * ofContext;
  const wanted = form.bytes === undefined ? most : Math.floor(form.bytes / blockBytes);
  const ofRows = Math.min(Math.max(wanted, ofContext), most);
  // Rows may also take the blocks of prefixes that no row holds; the probe's row has blocks of its own.
  const ofProbe = Math.min(ofContext, Math.ceil(limits.mergeProbeTokens / length) + 1);
  const blocks = ofRows + ofProbe + prefixBlocks;
  const forRows = Math.min(ofRows + prefixBlocks, most);
  // The block behind all others belongs to no row: idle rows write to it.
  return { prefixBlocks, forRows, blocks, all: blocks + (hasIdle ? 1 : 0) };
}

/** Bytes of the memory that `createBlockKv` opens. */
export const blockKvBytes = (form: BlockKvForm): number => blocksOf(form).all * form.blockBytes;

export function createBlockKv(form: BlockKvForm, open: (blocks: number) => BlockMemory): KvCache {
  const { rows, positions, length, blockBytes } = form;
  const { prefixBlocks, forRows, blocks, all } = blocksOf(form);
  const lists = new BlockLists({ rows, blocks, forRows, prefixBlocks, length });
  const idle = [blocks];
  const memory = open(all);
  const prefixes: Prefixes = {
    begin: (...asked) => lists.begin(...asked),
    keep: (...asked) => lists.keep(...asked),
    leave: (...asked) => lists.leave(...asked),
    get blocks() {
      return lists.blocks;
    },
    ...{ blockBytes, blockTokens: length },
  };
  return {
    rows,
    positions,
    bytes: all * blockBytes,
    ...{ blockTokens: length, blocks: forRows },
    prefixes: prefixBlocks === 0 ? null : prefixes,
    write:
      memory.write &&
      ((row, first, end, values) => {
        const own = lists.of(row);
        for (let at = first; at < end; at++) memory.write!(own[Math.floor(at / length)]!, at, values);
      }),
    hasRoom: (tokens, rows) => lists.hasRoom(tokens, rows),
    reserve: (row, tokens) => lists.reserve(row, tokens),
    clear: (row) => lists.clear(row),
    get usage() {
      return lists.usage;
    },
    async use(rows, pasts, added, work) {
      for (const [i, row] of rows.entries()) {
        if (row === idleRow) continue;
        if (pasts[i] === 0) lists.clear(row);
        if (!lists.reserve(row, pasts[i]! + added[i]!)) throw new Error('there are no blocks left');
      }
      const blocks = rows.map((row) => (row === idleRow ? idle : lists.of(row)));
      if (memory.ready) await memory.ready;
      const { key, value } = memory;
      return work({ place: 'pool', order: null, blocks, key, value });
    },
    expectGroups: async () => {},
    release: () => memory.release(),
  };
}
