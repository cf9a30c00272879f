// What an output must look like, as it crosses processes; and the vocabulary that it is spelt with.

/** `lark`: llguidance's dialect of Lark. A regex matches the whole output. */
export type Grammar = {
  readonly kind: 'json_schema' | 'regex' | 'lark';
  readonly text: string;
};

/** The bytes of every token id, one after another. */
export type TokenTable = {
  /** Token i is `bytes[ends[i - 1]..ends[i]]`; control tokens, which are no text, begin with 0xff. */
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;
  /** Ids that end a sequence; at least one. */
  readonly eosTokens: readonly number[];
};

/** The same grammar has the same key. */
export const grammarKey = ({ kind, text }: Grammar): string => `${kind} ${text}`;

/** Words of a mask: a bit for each token, 32 to a word, the lowest first. */
export const maskWords = ({ ends }: TokenTable): number => Math.ceil(ends.length / 32);
