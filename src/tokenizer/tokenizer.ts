// The tokeniser's interface for the server. load.ts chooses the implementation.

export type EncodeOptions = {
  /** Adds the tokens of the model's post-processor (a beginning-of-sequence token, ...). */
  readonly addSpecialTokens: boolean;
  /** Reads `<|im_start|>` and the like in the text as control tokens; false: as plain characters. */
  readonly parseSpecial: boolean;
};

export type ChatMessage = {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
  /** Calls of tools as templates read them: arguments are a value, not text. */
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly type: string;
    readonly function: { readonly name: string; readonly arguments: unknown };
  }[];
  readonly tool_call_id?: string;
  readonly reasoning_content?: string;
};

/** A function that the model may call, in OpenAI's shape. */
export type ChatTool = { readonly type: string; readonly function: { readonly name: string } };

export type ChatOptions = {
  readonly addGenerationPrompt?: boolean;
  /** Tools, described to the model by the template, or in a system message where the template knows no tools. */
  readonly tools?: readonly ChatTool[];
  /** Further variables for the template. */
  readonly variables?: Readonly<Record<string, unknown>>;
};

/** A chat template that is not the model's own, and is rendered elsewhere. */
export type ForeignTemplate = {
  readonly source: string;
  /** @param variables all that the template may read */
  render(variables: Readonly<Record<string, unknown>>): Promise<string>;
};

export type Tokenizer = {
  /** Number of ids, added tokens included. */
  readonly vocabulary: number;
  /** Ids that end a sequence: eos_token, and the end-of-turn token where the chat template has one. */
  readonly eosTokens: readonly number[];
  /** null where the model has no chat template. */
  readonly chatTemplate: string | null;
  encode(text: string, options: EncodeOptions): number[];
  /** Decodes a whole sequence; incomplete UTF-8 becomes U+FFFD. Control tokens are skipped by default. */
  decode(tokens: readonly number[], options?: { skipSpecial?: boolean }): string;
  /** Gives the bytes of one token: UTF-8, possibly a part of a character. */
  tokenBytes(token: number): Uint8Array;
  /** True for control tokens, which are not text. */
  isSpecial(token: number): boolean;
  /**
   * Renders messages with the chat template and encodes the result. Control tokens typed inside a message stay plain
   * characters. The generation prompt is added by default. Throws `chat_template_failed`.
   */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): number[];
  /** Does the same with another template and the model's own special tokens. */
  encodeChatBy(template: ForeignTemplate, messages: readonly ChatMessage[], options?: ChatOptions): Promise<number[]>;
  /** Finds the token that ends an answer in another template; null where the template does not show one. */
  endOfTurn(template: ForeignTemplate): Promise<number | null>;
  /** Makes an incremental decoder: its pieces join to `decode` of all tokens, and no piece ends inside a character. */
  detokenizer(options?: { skipSpecial?: boolean }): Detokenizer;
};

export type Detokenizer = {
  /** Gives the text that is certain after this token; often '' inside a multi-byte character. */
  push(token: number): string;
  /** Gives what is left at the end; an incomplete character becomes U+FFFD. */
  flush(): string;
};
