// Knows which blocks hold which tokens, so that a sequence that begins as an earlier one did is not computed again. A
// block's key is a chain of SHA-256 over what computes the tokens, all tokens up to the block's end, and how each was
// rounded: adapters' names never enter. A preempted sequence also has its last block here, which is not full and which
// only this sequence can take back.
// Blocks that no row holds stay until their place is needed. The owner with the most blocks gives up its least recently
// used one, so that no owner can crowd out another. Knows numbers of blocks; knows no memory.

import { createHash } from 'node:crypto';
import { kvBlock } from '../../core/page-sizes.ts';

let chains = 0;

/** The keys of a sequence's full blocks, computed when they are first asked for. */
export class PrefixChain {
  readonly owner: string;
  readonly #block: number;
  /** Number of blocks that were offered to the cache. */
  kept = 0;
  /** Tokens that the sequence had computed when it lost its row, if they end within a block; otherwise 0. */
  left = 0;
  /** Key of that last block, which is the sequence's alone. */
  readonly leftKey = `left by ${++chains}`;
  /** Number of the tokens that are the prompt's; those of an answer have other bits. */
  readonly #prompt: number;
  readonly #root: string;
  readonly #tokens: readonly number[];
  readonly #keys: string[] = [];

  /**
   * @param root what computes the tokens, and who may share them
   * @param owner whose share of the cache the blocks take
   * @param tokens the sequence's tokens, which may become more
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

  /** Key of block `index`. Throws where not all of its tokens are there. */
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
  /** Most blocks that may stay. */
  readonly blocksMax: number;
  /** Called for a block that the cache no longer holds. */
  readonly onForget: (block: number) => void;
};

export class PrefixCache {
  readonly #options: PrefixCacheOptions;
  /** Blocks by owner and key, the least recently used first. */
  readonly #blocks = new Map<string, Map<string, number>>();
  #size = 0;

  constructor(options: PrefixCacheOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  /** The blocks of the longest known beginning, at most `count`. */
  find(chain: PrefixChain, count: number): number[] {
    const known = this.#blocks.get(chain.owner);
    const found: number[] = [];
    if (!known) return found;
    while (found.length < count) {
      const block = known.get(chain.key(found.length));
      if (block === undefined) break;
      found.push(block);
    }
    // Touched from the last to the first, so that the last is the oldest: a chain is forgotten from its end.
    for (let i = found.length - 1; i >= 0; i--) touch(known, chain.key(i), found[i]!);
    return found;
  }

  /** Adds block `index` of the chain, which lies in `block`. False where the cache has it already, or may hold none. */
  add(chain: PrefixChain, index: number, block: number): boolean {
    return this.#add(chain, { key: chain.key(index), index, block });
  }

  /** Adds block `index`, which is not full, for this sequence alone. False where the cache may hold no block. */
  addLeft(chain: PrefixChain, index: number, block: number): boolean {
    return this.#add(chain, { key: chain.leftKey, index, block });
  }

  /** Takes back the block of `addLeft`, which the caller then holds; undefined where it was forgotten. */
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
    // Marks the blocks before it as used with it.
    for (let i = index - 1; i >= 0; i--) {
      const before = known.get(chain.key(i));
      if (before !== undefined) touch(known, chain.key(i), before);
    }
    this.#size++;
    while (this.#size > this.#options.blocksMax) this.forgetOne();
    return true;
  }

  /** Forgets the least recently used block of the owner with the most. Throws where the cache is empty. */
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
