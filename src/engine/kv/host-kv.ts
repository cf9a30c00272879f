// Keys and values in memory that JavaScript has: a pool of blocks of few tokens, of which each row has a list. Full
// blocks stay when their row has ended, and other rows begin with them. Nothing is written into a block that anybody
// else reads, since a row writes behind its full blocks only. The pool's memory is reserved whole and touched as blocks
// are first used.
//
//   keys[layer]:   [blocks, kvHeads, headDim, kvBlock]
//   values[layer]: [blocks, kvHeads, kvBlock, headDim]

import type { ModelShape } from '../../core/base-model.ts';
import { LorikeetError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { kvBlock } from '../../core/page-sizes.ts';
import type { Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import { BlockLists } from './block-lists.ts';
import type { KvCache, Prefixes } from './kv-cache.ts';

export type HostKvForm = {
  readonly rows: number;
  readonly positions: number;
  readonly type: Real;
  /** For what rows hold: at least one context, and at most one for each row. Left out: so much. */
  readonly bytes?: number;
  /** For prefixes that no row holds, beside that. */
  readonly prefixBytes: number;
};

/** Of all layers. */
const kvBlockBytes = ({ layers, kvHeads, headDim }: ModelShape, type: Real): number =>
  2 * layers * kvHeads * headDim * kvBlock * (type === 'float16' ? 2 : 4);

/** Throws `memory_exceeded` where the system refuses so much, used or not. */
function reserved<T>(make: () => T, bytes: number): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const size = `${Math.ceil(bytes / 2 ** 20)} MiB`;
    const message = `The system gives no ${size} for keys and values. Lower LORIKEET_KV_MEMORY.`;
    throw new LorikeetError('memory_exceeded', { message, param: 'LORIKEET_KV_MEMORY', cause });
  }
}

export function createHostKv(runtime: Runtime, shape: ModelShape, form: HostKvForm): KvCache {
  const { layers, kvHeads, headDim } = shape;
  const { rows, positions, type, prefixBytes } = form;
  const blockBytes = kvBlockBytes(shape, type);
  const prefixBlocks = Math.floor(prefixBytes / blockBytes);
  const ofContext = Math.ceil(positions / kvBlock);
  const most = rows * ofContext;
  const wanted = form.bytes === undefined ? most : Math.floor(form.bytes / blockBytes);
  const ofRows = Math.min(Math.max(wanted, ofContext), most);
  // What nobody begins with any more is rows' room too; the probe's row has its own.
  const ofProbe = Math.min(ofContext, Math.ceil(limits.mergeProbeTokens / kvBlock) + 1);
  const blocks = ofRows + ofProbe + prefixBlocks;
  const lists = new BlockLists({ rows, blocks, forRows: Math.min(ofRows + prefixBlocks, most), prefixBlocks });
  const elements = blocks * kvHeads * headDim * kvBlock;
  const pool = () =>
    Array.from({ length: layers }, () =>
      type === 'float16' ? new Float16Array(elements) : new Float32Array(elements),
    );
  const [keys, values] = reserved(() => [pool(), pool()] as const, blocks * blockBytes);
  const prefixes: Prefixes = {
    begin: (...asked) => lists.begin(...asked),
    keep: (...asked) => lists.keep(...asked),
    leave: (...asked) => lists.leave(...asked),
    get blocks() {
      return lists.blocks;
    },
    blockBytes,
  };
  return {
    rows,
    positions,
    bytes: blocks * blockBytes,
    prefixes: prefixBlocks === 0 ? null : prefixes,
    write(row, first, end, given) {
      const blocks = lists.of(row);
      for (let position = first; position < end; position++) {
        writeToken(shape, { keys, values, block: blocks[Math.floor(position / kvBlock)]!, position, given });
      }
    },
    hasRoom: (tokens) => lists.hasRoom(tokens),
    reserve: (row, length) => lists.reserve(row, length),
    clear: (row) => lists.clear(row),
    get usage() {
      return lists.usage;
    },
    use(rows, pasts, added, work) {
      for (const [i, row] of rows.entries()) {
        if (pasts[i] === 0) lists.clear(row);
        if (!lists.reserve(row, pasts[i]! + added[i]!)) throw new Error('there are no blocks left');
      }
      return work({
        ...{ place: 'pool', order: null, blocks: rows.map((row) => lists.of(row)) },
        key: (layer) => runtime.tensor(keys[layer]!, [blocks, kvHeads, headDim, kvBlock]),
        value: (layer) => runtime.tensor(values[layer]!, [blocks, kvHeads, kvBlock, headDim]),
      });
    },
    expectGroups: async () => {},
    release() {},
  };
}

type WrittenToken = {
  readonly keys: readonly KvMemory[];
  readonly values: readonly KvMemory[];
  readonly block: number;
  readonly position: number;
  /** Of all positions: [positions, layers, key and value, kvHeads, headDim]. */
  readonly given: Float32Array;
};

type KvMemory = Float16Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/** As the attention's operator stores them: what is beyond the largest half float is that. */
function writeToken({ layers, kvHeads, headDim }: ModelShape, written: WrittenToken): void {
  const { keys, values, block, position, given } = written;
  const column = position % kvBlock;
  const largest = keys[0] instanceof Float16Array ? 65504 : Number.MAX_VALUE;
  const stored = (value: number) => Math.min(largest, Math.max(-largest, value));
  let at = position * layers * 2 * kvHeads * headDim;
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < kvHeads; head++) {
      const first = (block * kvHeads + head) * headDim * kvBlock;
      for (let d = 0; d < headDim; d++) keys[layer]![first + d * kvBlock + column] = stored(given[at++]!);
    }
    for (let head = 0; head < kvHeads; head++) {
      const first = (block * kvHeads + head) * headDim * kvBlock + column * headDim;
      for (let d = 0; d < headDim; d++) values[layer]![first + d] = stored(given[at++]!);
    }
  }
}
