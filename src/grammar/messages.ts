// What crosses between the threads that know grammars and the threads that ask. Masks lie in memory that both share.

import type { Grammar, TokenTable } from '../core/grammar.ts';

export type GrammarThreadData = {
  readonly table: TokenTable;
  /** [1] int32: the id that is worked on, for who waits too long; 0: none. */
  readonly current: Int32Array;
};

export type GrammarQuestion =
  /**
   * A matcher at the grammar's start, moved on by `tokens`. Without `words`, where its masks are to lie: only whether
   * it can be.
   */
  | {
      readonly type: 'create';
      readonly id: number;
      readonly grammar: Grammar;
      readonly tokens: readonly number[];
      readonly words: Uint32Array | null;
    }
  /** The first of these that may come, which the sequence takes then; where none may, the mask. */
  | { readonly type: 'ask'; readonly id: number; readonly tokens: readonly number[] }
  /** The sequence took a token under the mask. */
  | { readonly type: 'accept'; readonly id: number; readonly token: number }
  | { readonly type: 'release'; readonly id: number };

/** To each `create` and `ask`, and with id 0 when the thread has begun. */
export type GrammarAnswer = {
  readonly id: number;
  readonly to: 'start' | 'create' | 'ask';
  /** Of the first token that may come; -1: the mask is there. */
  readonly place: number;
  /** Why there is no answer. */
  readonly refused: string | null;
  readonly memoryBytes: number;
};
