// Which blocks of a pool are whose: a list for each row, and those that the prefix cache holds. A block that neither a
// row nor the cache holds is free. Where none is free, the cache forgets blocks until one is. Knows numbers of blocks;
// knows no memory.

import { kvBlock } from '../../core/page-sizes.ts';
import { type Prefixes, probeRow } from './kv-cache.ts';
import { PrefixCache } from './prefix-cache.ts';

export type BlockListsForm = {
  readonly rows: number;
  readonly blocks: number;
  /** Most blocks that sequences' rows may have together; the probe's row has others. */
  readonly forRows: number;
  /** Most blocks that the prefix cache may hold. */
  readonly prefixBlocks: number;
  /** Tokens of a block; `kvBlock` by default. */
  readonly length?: number;
};

export class BlockLists implements Omit<Prefixes, 'blockBytes'> {
  readonly blockTokens: number;
  readonly #forRows: number;
  readonly #cache: PrefixCache;
  /** Free blocks. The one that was freed last is taken first, since its memory has been touched. */
  readonly #free: number[];
  /** For each block, the rows that have it, and one more if the prefix cache holds it. */
  readonly #holders: Uint32Array;
  /** For each block, the sequences' rows that have it, without the probe's. */
  readonly #rowsOf: Uint32Array;
  readonly #lists: readonly number[][];
  #taken = 0;

  constructor({ rows, blocks, forRows, prefixBlocks, length = kvBlock }: BlockListsForm) {
    this.blockTokens = length;
    this.#forRows = forRows;
    this.#free = Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
    this.#holders = new Uint32Array(blocks);
    this.#rowsOf = new Uint32Array(blocks);
    this.#lists = Array.from({ length: rows - probeRow }, () => []);
    this.#cache = new PrefixCache({ blocksMax: prefixBlocks, onForget: (block) => this.#letGo(block) });
  }

  /** The blocks of a row, in the order of positions. */
  of(row: number): readonly number[] {
    return this.#listOf(row);
  }

  /** Share of the blocks for rows that rows have. */
  get usage(): number {
    return this.#taken / this.#forRows;
  }

  get blocks(): number {
    return this.#cache.size;
  }

  /** Whether `tokens` more fit, beside one block for each of `rows` rows. */
  hasRoom(tokens: number, rows: number): boolean {
    return this.#taken + this.#blocksFor(tokens) + rows <= this.#forRows;
  }

  /** Makes room for `length` tokens in a row: all of it, or none and false. */
  reserve(row: number, length: number): boolean {
    const missing = this.#blocksFor(length) - this.#listOf(row).length;
    if (row !== probeRow && this.#taken + Math.max(0, missing) > this.#forRows) return false;
    for (let i = 0; i < missing; i++) {
      while (this.#free.length === 0) this.#cache.forgetOne();
      this.#take(row, this.#free.pop()!);
    }
    return true;
  }

  clear(row: number): void {
    for (const block of this.#listOf(row).splice(0).reverse()) {
      if (row !== probeRow && --this.#rowsOf[block]! === 0) this.#taken--;
      this.#letGo(block);
    }
  }

  begin(...[row, chain, count]: Parameters<Prefixes['begin']>): number {
    this.clear(row);
    const { blockTokens } = this;
    const found = this.#cache.find(chain, Math.floor(count / blockTokens));
    for (const block of found) this.#take(row, block);
    chain.kept = found.length;
    const left = this.#cache.takeLeft(chain);
    if (left === undefined) return found.length * blockTokens;
    const goesOn = found.length === Math.floor(chain.left / blockTokens) && chain.left <= count;
    if (goesOn) this.#take(row, left);
    this.#letGo(left);
    return goesOn ? chain.left : found.length * blockTokens;
  }

  keep(...[row, chain, count]: Parameters<Prefixes['keep']>): void {
    for (let index = chain.kept; index < Math.floor(count / this.blockTokens); index++) {
      const block = this.#listOf(row)[index]!;
      // Counted as a holder first, since the cache may forget the block in the very call that adds it.
      this.#holders[block]!++;
      if (!this.#cache.add(chain, index, block)) this.#letGo(block);
      chain.kept = index + 1;
    }
  }

  leave(...[row, chain, count]: Parameters<Prefixes['leave']>): void {
    this.keep(row, chain, count);
    const full = Math.floor(count / this.blockTokens);
    chain.left = count % this.blockTokens === 0 ? 0 : count;
    if (chain.left === 0) return;
    const block = this.#listOf(row)[full]!;
    this.#holders[block]!++;
    if (!this.#cache.addLeft(chain, full, block)) this.#letGo(block);
  }

  #blocksFor(length: number): number {
    return Math.ceil(length / this.blockTokens);
  }

  #listOf(row: number): number[] {
    return this.#lists[row - probeRow]!;
  }

  #take(row: number, block: number): void {
    this.#holders[block]!++;
    if (row !== probeRow && this.#rowsOf[block]!++ === 0) this.#taken++;
    this.#listOf(row).push(block);
  }

  #letGo(block: number): void {
    if (--this.#holders[block]! === 0) this.#free.push(block);
  }
}
