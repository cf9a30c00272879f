// Keys and values in a pool of blocks of few tokens, of which each row has a list. Full blocks stay when their row has
// ended, and other rows begin with them. Nothing is written into a block that anybody else reads, since a row writes
// behind its full blocks only. Knows which block is whose; where the pool lies is its memory's matter.

import { limits } from '../../core/limits.ts';
import type { Tensor } from '../../runtime/session.ts';
import { BlockLists } from './block-lists.ts';
import { idleRow, type KvCache, type Prefixes } from './kv-cache.ts';

export type BlockMemory = {
  /** Whether it has been made ready. */
  readonly ready: Promise<void> | null;
  /** Of all blocks. */
  key(layer: number): Tensor;
  value(layer: number): Tensor;
  /** Writes a token's, out of those of all positions; null where keys and values come from runs alone. */
  readonly write: ((block: number, position: number, values: Float32Array) => void) | null;
  release(): void;
};

export type BlockKvForm = {
  readonly rows: number;
  readonly positions: number;
  /** Tokens of a block, and its bytes in all layers. */
  readonly length: number;
  readonly blockBytes: number;
  /** For what rows hold: at least one context, and at most one for each row. Left out: so much. */
  readonly bytes?: number;
  /** For prefixes that no row holds, beside that. */
  readonly prefixBytes: number;
  /** Runs may take idle rows along. */
  readonly hasIdle: boolean;
};

/** Blocks by whom they are for. */
function blocksOf(form: BlockKvForm) {
  const { rows, positions, length, blockBytes, prefixBytes, hasIdle } = form;
  const prefixBlocks = Math.floor(prefixBytes / blockBytes);
  const ofContext = Math.ceil(positions / length);
  const most = rows * ofContext;
  const wanted = form.bytes === undefined ? most : Math.floor(form.bytes / blockBytes);
  const ofRows = Math.min(Math.max(wanted, ofContext), most);
  // What nobody begins with any more is rows' room too; the probe's row has its own.
  const ofProbe = Math.min(ofContext, Math.ceil(limits.mergeProbeTokens / length) + 1);
  const blocks = ofRows + ofProbe + prefixBlocks;
  const forRows = Math.min(ofRows + prefixBlocks, most);
  // The one beyond them is nobody's.
  return { prefixBlocks, forRows, blocks, all: blocks + (hasIdle ? 1 : 0) };
}

/** Of the memory that is opened for it. */
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
    prefixes: prefixBlocks === 0 ? null : prefixes,
    write:
      memory.write &&
      ((row, first, end, values) => {
        const own = lists.of(row);
        for (let at = first; at < end; at++) memory.write!(own[Math.floor(at / length)]!, at, values);
      }),
    hasRoom: (tokens, rows) => lists.hasRoom(tokens, rows),
    reserve: (row, length) => lists.reserve(row, length),
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
