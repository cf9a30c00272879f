// Says whether an output can have a grammar, before anybody generates one: compiled in a thread, against single bytes,
// since what can be compiled does not depend on the vocabulary. Knows grammars; knows no requests.

import { LRUCache } from 'lru-cache';
import { type Grammar, grammarKey, type TokenTable } from '../core/grammar.ts';
import { limits } from '../core/limits.ts';
import { fairly } from '../core/serially.ts';
import { GrammarThread } from './grammar-thread.ts';

export class GrammarChecker {
  /** Grammars of one tenant, each of which may take a second, hold up no other's. */
  readonly #inTurn = fairly();
  readonly #thread = new GrammarThread({ table: bytesTable() });
  readonly #good = new LRUCache<string, true>({
    max: limits.grammarsChecked,
    maxSize: limits.grammarsCheckedChars,
    sizeCalculation: (_, key) => key.length,
  });

  /** Throws `grammar_invalid` or `grammar_too_complex`. */
  async check(grammar: Grammar): Promise<void> {
    const key = grammarKey(grammar);
    if (this.#good.get(key)) return;
    await this.#inTurn(async () => {
      // The one before it may have had the same.
      if (this.#good.get(key)) return;
      await this.#thread.check(grammar);
      this.#good.set(key, true);
    });
  }

  close(): void {
    this.#thread.close();
  }
}

/** Every byte is a token, and the end. */
function bytesTable(): TokenTable {
  const end = Buffer.from('\xff<end>', 'latin1');
  return {
    bytes: new Uint8Array(Buffer.concat([Uint8Array.from({ length: 255 }, (_, byte) => byte), end])),
    ends: Uint32Array.from({ length: 256 }, (_, i) => (i < 255 ? i + 1 : 255 + end.length)),
    eosTokens: [255],
  };
}
