// Which blocks of a pool are whose: a list for each row, and those that are known as beginnings. A block that no row
// has and nobody knows is free; where none is, known ones go that no row has. Knows numbers of blocks; knows no memory.

import { kvBlock } from '../../core/page-sizes.ts';
import { type Prefixes, probeRow } from './kv-cache.ts';
import { PrefixCache } from './prefix-cache.ts';

export type BlockListsForm = {
  readonly rows: number;
  readonly blocks: number;
  /** Of these, what sequences' rows may have together; the probe's row has others. */
  readonly forRows: number;
  /** That may be known. */
  readonly prefixBlocks: number;
  /** Tokens of a block; `kvBlock` by default. */
  readonly length?: number;
};

export class BlockLists implements Omit<Prefixes, 'blockBytes'> {
  readonly blockTokens: number;
  readonly #forRows: number;
  readonly #cache: PrefixCache;
  /** The one that was let go last is taken first: its memory is touched already. */
  readonly #free: number[];
  /** Rows that have a block, and one more where it is known. */
  readonly #holders: Uint32Array;
  /** Sequences' rows alone. */
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

  /** Of a row, in the order of positions. */
  of(row: number): readonly number[] {
    return this.#listOf(row);
  }

  /** Of the blocks that rows may have, those that they have. */
  get usage(): number {
    return this.#taken / this.#forRows;
  }

  get blocks(): number {
    return this.#cache.size;
  }

  /** Beside a block for each of `rows` rows. */
  hasRoom(tokens: number, rows: number): boolean {
    return this.#taken + this.#blocksFor(tokens) + rows <= this.#forRows;
  }

  /** All or nothing. */
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
      // Taken first: what is added may at once be what has to go.
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
