// What crosses between the threads that know grammars and the threads that ask. Masks lie in memory that both share.

import type { Grammar, TokenTable } from '../core/grammar.ts';

export type GrammarThreadData = {
  readonly table: TokenTable;
  /** [1] int32: the id that is worked on, for who waits too long; 0: none. */
  readonly current: Int32Array;
};

export type GrammarQuestion =
  /** A matcher at the grammar's start, moved on by `tokens`; then its mask. Without `words`: only whether it can be. */
  | {
      readonly type: 'create';
      readonly id: number;
      readonly grammar: Grammar;
      readonly tokens: readonly number[];
      readonly words: Uint32Array | null;
    }
  /** The sequence took a token: the next mask. */
  | { readonly type: 'accept'; readonly id: number; readonly token: number }
  | { readonly type: 'release'; readonly id: number };

/** To each `create` and `accept`, and with id 0 when the thread has begun. `refused`: why there is no mask. */
export type GrammarAnswer = { readonly id: number; readonly refused: string | null; readonly memoryBytes: number };
