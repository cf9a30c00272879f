// Checks whether a grammar can be used, before a request with it is queued. A grammar is compiled in a thread against
// single bytes, since whether it compiles does not depend on the vocabulary. Knows grammars, no requests.

import { LRUCache } from 'lru-cache';
import { type Grammar, grammarKey, type TokenTable } from '../core/grammar.ts';
import { limits } from '../core/limits.ts';
import { fairly } from '../core/serially.ts';
import { GrammarThread } from './grammar-thread.ts';

export class GrammarChecker {
  /** Compiles the tenants' grammars in turns: each may take a second, and one tenant's must not hold up another's. */
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
      // The grammar may have been checked while this call waited for its turn.
      if (this.#good.get(key)) return;
      await this.#thread.check(grammar);
      this.#good.set(key, true);
    });
  }

  close(): void {
    this.#thread.close();
  }
}

/** Makes a vocabulary of single bytes and an end token. */
function bytesTable(): TokenTable {
  const end = Buffer.from('\xff<end>', 'latin1');
  return {
    bytes: new Uint8Array(Buffer.concat([Uint8Array.from({ length: 255 }, (_, byte) => byte), end])),
    ends: Uint32Array.from({ length: 256 }, (_, i) => (i < 255 ? i + 1 : 255 + end.length)),
    eosTokens: [255],
  };
}
