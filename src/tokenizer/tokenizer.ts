// What the server needs from a tokeniser. The implementation is chosen in load.ts.

export type EncodeOptions = {
  /** Add what the model's post-processor adds (a beginning-of-sequence token, ...). */
  readonly addSpecialTokens: boolean;
  /** Read `<|im_start|>` and the like in the text as control tokens; false reads them as plain characters. */
  readonly parseSpecial: boolean;
};

export type ChatMessage = {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
  /** Calls of tools, as templates read them: arguments are a value, not text. */
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
  /** Described to the model, by the template or, where it knows no tools, in a system message. */
  readonly tools?: readonly ChatTool[];
  /** More of what the template may read. */
  readonly variables?: Readonly<Record<string, unknown>>;
};

/** A chat template that is no part of the model, and is rendered elsewhere. */
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
  /** Text of whole sequences; incomplete UTF-8 becomes U+FFFD. Control tokens are skipped unless told otherwise. */
  decode(tokens: readonly number[], options?: { skipSpecial?: boolean }): string;
  /** The bytes that one token stands for (UTF-8, possibly a part of a character). */
  tokenBytes(token: number): Uint8Array;
  /** True for control tokens, which are no text. */
  isSpecial(token: number): boolean;
  /**
   * Messages through the chat template. Control tokens typed inside a message stay plain characters.
   * The generation prompt is added unless told otherwise. Throws `chat_template_failed`.
   */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): number[];
  /** The same through another template, with the model's own special tokens. */
  encodeChatBy(template: ForeignTemplate, messages: readonly ChatMessage[], options?: ChatOptions): Promise<number[]>;
  /** The token that ends an answer by another template; null where the template does not show one. */
  endOfTurn(template: ForeignTemplate): Promise<number | null>;
  /** Incremental: the joined pieces equal `decode` of all tokens, and no piece ends inside a character. */
  detokenizer(options?: { skipSpecial?: boolean }): Detokenizer;
};

export type Detokenizer = {
  /** The text that became certain with this token; often '' inside a multi-byte character. */
  push(token: number): string;
  /** What is left at the end (U+FFFD for an incomplete character). */
  flush(): string;
};
