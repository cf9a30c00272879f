// Which blocks hold which tokens, so that what begins as an earlier sequence did is not computed again. A block is
// known by the chain of SHA-256 over all tokens up to its end and how each was rounded, which begins with what
// computes them: names never enter. A sequence that lost its row has its last block here too, which is not full and
// is taken back by this sequence alone.
// Blocks that no row holds stay until others need their place; what one owner keeps cannot crowd out another's: the
// owner with the most blocks gives up its least recently used one. Knows numbers of blocks; knows no memory.

import { createHash } from 'node:crypto';
import { kvBlock } from '../../core/page-sizes.ts';

let chains = 0;

/** The keys of a sequence's full blocks, made as they are asked for. */
export class PrefixChain {
  readonly owner: string;
  readonly #block: number;
  /** Blocks that were offered to the cache. */
  kept = 0;
  /** Tokens that the sequence had computed when it lost its row, if they end within a block; else 0. */
  left = 0;
  /** Of that block, which is the sequence's alone. */
  readonly leftKey = `left by ${++chains}`;
  /** Tokens of the prompt, if those of the answer have other bits. */
  readonly #prompt: number;
  readonly #root: string;
  readonly #tokens: readonly number[];
  readonly #keys: string[] = [];

  /**
   * @param root what computes the tokens, and who may share them
   * @param owner whose share of the cache the blocks take
   * @param tokens the sequence's, which may become more
   * @param prompt how many of them have the bits of a prompt; the others have those of an answer
   * @param block tokens of a block
   */
  constructor(root: readonly unknown[], owner: string, tokens: readonly number[], prompt: number, block = kvBlock) {
    this.#block = block;
    this.#root = createHash('sha256').update(JSON.stringify(root)).digest('base64');
    this.#tokens = tokens;
    this.#prompt = prompt;
    this.owner = owner;
  }

  /** Of block `index`, all of whose tokens are there. */
  key(index: number): string {
    const block = this.#block;
    for (let i = this.#keys.length; i <= index; i++) {
      const before = this.#keys[i - 1] ?? this.#root;
      const tokens = Int32Array.from(this.#tokens.slice(i * block, (i + 1) * block));
      if (tokens.length < block) throw new RangeError('the block is not full');
      const ofPrompt = Math.min(Math.max(this.#prompt - i * block, 0), block);
      const hash = createHash('sha256')
        .update(before, 'base64')
        .update(new Uint8Array(Int32Array.of(ofPrompt).buffer));
      hash.update(new Uint8Array(tokens.buffer));
      this.#keys.push(hash.digest('base64'));
    }
    return this.#keys[index]!;
  }
}

export type PrefixCacheOptions = {
  /** Blocks that may stay. */
  readonly blocksMax: number;
  /** A block that was known is known no more. */
  readonly onForget: (block: number) => void;
};

export class PrefixCache {
  readonly #options: PrefixCacheOptions;
  /** By owner, the least recently used first. */
  readonly #blocks = new Map<string, Map<string, number>>();
  #size = 0;

  constructor(options: PrefixCacheOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  /** The blocks of the longest known beginning, of at most `count` blocks. */
  find(chain: PrefixChain, count: number): number[] {
    const known = this.#blocks.get(chain.owner);
    const found: number[] = [];
    if (!known) return found;
    while (found.length < count) {
      const block = known.get(chain.key(found.length));
      if (block === undefined) break;
      found.push(block);
    }
    // The last one is the oldest afterwards: a chain is given up from its end.
    for (let i = found.length - 1; i >= 0; i--) touch(known, chain.key(i), found[i]!);
    return found;
  }

  /** Block `index` of the chain lies in `block` from now on. False where it is known already, or nothing may stay. */
  add(chain: PrefixChain, index: number, block: number): boolean {
    return this.#add(chain, { key: chain.key(index), index, block });
  }

  /** Block `index`, which is not full, is the sequence's again when it has a row. False where nothing may stay. */
  addLeft(chain: PrefixChain, index: number, block: number): boolean {
    return this.#add(chain, { key: chain.leftKey, index, block });
  }

  /** What `addLeft` was given, which is known no more: the caller holds it now. undefined where it had to go. */
  takeLeft(chain: PrefixChain): number | undefined {
    const block = this.#blocks.get(chain.owner)?.get(chain.leftKey);
    if (block !== undefined) this.#delete(chain.owner, chain.leftKey);
    return block;
  }

  #add(chain: PrefixChain, { key, index, block }: { key: string; index: number; block: number }): boolean {
    const known = this.#blocks.get(chain.owner) ?? new Map<string, number>();
    if (this.#options.blocksMax === 0 || known.has(key)) return false;
    this.#blocks.set(chain.owner, known);
    known.set(key, block);
    // Those before it were used with it.
    for (let i = index - 1; i >= 0; i--) {
      const before = known.get(chain.key(i));
      if (before !== undefined) touch(known, chain.key(i), before);
    }
    this.#size++;
    while (this.#size > this.#options.blocksMax) this.forgetOne();
    return true;
  }

  /** Throws where none is known. */
  forgetOne(): void {
    const [owner, largest] = [...this.#blocks].reduce((a, b) => (b[1].size > a[1].size ? b : a));
    const [key, block] = largest.entries().next().value!;
    this.#delete(owner, key);
    this.#options.onForget(block);
  }

  #delete(owner: string, key: string): void {
    const known = this.#blocks.get(owner)!;
    known.delete(key);
    if (known.size === 0) this.#blocks.delete(owner);
    this.#size--;
  }
}

function touch(known: Map<string, number>, key: string, block: number): void {
  known.delete(key);
  known.set(key, block);
}
