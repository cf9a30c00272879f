// Grammars of outputs as they cross processes, and the vocabulary whose tokens spell the outputs.

/** Constraint on a whole output. `lark` is llguidance's dialect of Lark. */
export type Grammar = {
  readonly kind: 'json_schema' | 'regex' | 'lark';
  readonly text: string;
};

/** The bytes of all tokens, concatenated in the order of their ids. */
export type TokenTable = {
  /** Token i is `bytes[ends[i - 1]..ends[i]]`. Control tokens, which are not text, begin with 0xff. */
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;
  /** Ids that end a sequence; at least one. */
  readonly eosTokens: readonly number[];
};

/** Identifies a grammar: equal grammars have equal keys. */
export const grammarKey = ({ kind, text }: Grammar): string => `${kind} ${text}`;

/** Counts the 32-bit words of a mask, which has one bit for each token, lowest bit first. */
export const maskWords = ({ ends }: TokenTable): number => Math.ceil(ends.length / 32);
