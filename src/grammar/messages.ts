// Messages between a thread that knows grammars and the thread that asks. Masks lie in shared memory.

import type { Grammar, TokenTable } from '../core/grammar.ts';

export type GrammarThreadData = {
  readonly table: TokenTable;
  /** [1] int32: id of the question being worked on, read when it takes too long; 0: none. */
  readonly current: Int32Array;
};

export type GrammarQuestion =
  /**
   * Makes a matcher at the grammar's start, moved on by `tokens`. Its masks go to `words`; null: the question is only
   * whether the grammar compiles.
   */
  | {
      readonly type: 'create';
      readonly id: number;
      readonly grammar: Grammar;
      readonly tokens: readonly number[];
      readonly words: Uint32Array | null;
    }
  /** Asks for the first of `tokens` that may come next, which is then accepted; where none may, for the mask. */
  | { readonly type: 'ask'; readonly id: number; readonly tokens: readonly number[] }
  /** Tells that the sequence took a token under the mask. */
  | { readonly type: 'accept'; readonly id: number; readonly token: number }
  | { readonly type: 'release'; readonly id: number };

/** Answers each `create` and `ask`. An answer with id 0 tells that the thread has started. */
export type GrammarAnswer = {
  readonly id: number;
  readonly to: 'start' | 'create' | 'ask';
  /** Place in `tokens` of the first one that may come; -1: the mask is ready. */
  readonly place: number;
  /** Why the question was refused; null where it was answered. */
  readonly refused: string | null;
  readonly memoryBytes: number;
};
