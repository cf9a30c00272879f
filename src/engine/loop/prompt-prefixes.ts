// The prefix cache as sequences use it: which beginnings a sequence may take over, what it leaves there, and when it
// had better wait for another sequence that is computing its beginning. A cache without prefixes makes all of this do
// nothing.

import type { EngineStats } from '../../protocol/messages.ts';
import type { Prefixes } from '../kv/kv-cache.ts';
import { PrefixChain } from '../kv/prefix-cache.ts';
import { ownTokens, prefillLeft, readsWholePrompt, type Sequence } from './sequence.ts';
import { digestOfVirtual } from './virtual-tokens.ts';
import { weightsAndOwner } from './whose.ts';

export class PromptPrefixes {
  readonly #prefixes: Prefixes | null;
  readonly #sharesBase: boolean;
  /** Prompt tokens that were looked up in the prefix cache, and those that were found. */
  #queried = 0;
  #hit = 0;

  /** @param sharesBase whether all flows share the prefixes that the base computes without an adapter */
  constructor(prefixes: Prefixes | null, sharesBase: boolean) {
    this.#prefixes = prefixes;
    this.#sharesBase = sharesBase;
  }

  get stats(): Pick<EngineStats, 'prefixes'> {
    if (this.#prefixes === null) return {};
    const { blocks, blockBytes } = this.#prefixes;
    return { prefixes: { queried: this.#queried, hit: this.#hit, bytes: blocks * blockBytes } };
  }

  /** Whether one of the running sequences is computing the beginning of the sequence's prompt now. */
  isComing(sequence: Sequence, running: readonly Sequence[]): boolean {
    const prefixes = this.#prefixes;
    if (prefixes === null || sequence.startedAt !== null || readsWholePrompt(sequence)) return false;
    return running.some((other) => other.prefix !== null && computesBeginning(other, sequence, prefixes.blockTokens));
  }

  /**
   * Takes over the blocks that the prefix cache holds of the same tokens with the same weights. At least the last token
   * is computed anew.
   */
  begin(sequence: Sequence): void {
    const { request, virtual, merge, tokens } = sequence;
    if (this.#prefixes === null || readsWholePrompt(sequence)) return;
    const isFirst = sequence.prefix === null;
    if (sequence.prefix === null) {
      const isBase = request.adapters.length === 0 && virtual === null;
      const owner = this.#sharesBase && isBase ? 'base' : `${sequence.line.flow}`;
      const root = [...weightsAndOwner(sequence, owner), merge?.bits ?? null];
      sequence.prefix = new PrefixChain(root, owner, tokens, request.promptTokens.length, this.#prefixes.blockTokens);
    }
    sequence.computed = this.#prefixes.begin(sequence.kvRow!, sequence.prefix, tokens.length - 1);
    if (!isFirst) return;
    sequence.cached = ownTokens(sequence, sequence.computed);
    this.#queried += ownTokens(sequence, request.promptTokens.length);
    this.#hit += sequence.cached;
  }

  /** Registers the first `count` tokens of the sequence. */
  keep({ prefix, kvRow }: Sequence, count: number): void {
    if (prefix !== null) this.#prefixes?.keep(kvRow!, prefix, count);
  }

  /** Registers what a sequence that loses its row has computed, for as long as the room is not needed. */
  leave({ prefix, kvRow, computed }: Sequence): void {
    if (prefix !== null) this.#prefixes?.leave(kvRow!, prefix, computed);
  }
}

/** Whether `other` is prefilling blocks of `block` tokens that `sequence` could begin with. */
function computesBeginning(other: Sequence, { key, line, request, virtual }: Sequence, block: number): boolean {
  const [theirs, own] = [other.request, request];
  if (prefillLeft(other) === 0 || other.key !== key || theirs.cacheSalt !== own.cacheSalt) return false;
  if (other.line.flow !== line.flow || digestOfVirtual(other.virtual) !== digestOfVirtual(virtual)) return false;
  const longest = Math.min(theirs.promptTokens.length, own.promptTokens.length - 1);
  const differs = theirs.promptTokens.findIndex((token, i) => i >= longest || token !== own.promptTokens[i]);
  const common = differs === -1 ? longest : differs;
  return common - (common % block) > other.computed;
}
