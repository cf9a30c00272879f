// How the next token is chosen. Ranges are checked by the HTTP schemas; the engine trusts them.

export type SamplingParams = {
  readonly maxTokens: number;
  /** No stop token is drawn before so many. */
  readonly minTokens: number;
  /** 0 is greedy. */
  readonly temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the smallest set whose probability reaches this; 1 keeps all. */
  readonly topP: number;
  /** Keep tokens at least this share of the most likely one's probability; 0 keeps all. */
  readonly minP: number;
  /** Divides positive and multiplies negative logits of every token seen (prompt and output); 1 is none. */
  readonly repetitionPenalty: number;
  /** Subtracted once per occurrence in the output; 0 is none. */
  readonly frequencyPenalty: number;
  /** Subtracted once if the token is in the output; 0 is none. */
  readonly presencePenalty: number;
  /** Added to logits before anything else: [token, bias]. */
  readonly logitBias: readonly (readonly [number, number])[];
  /** Only these may be drawn; null: all. */
  readonly allowedTokens: readonly number[] | null;
  /** A safe integer; null draws one. */
  readonly seed: number | null;
  /** Every token id that ends the sequence: the model's end-of-sequence ids too, unless the request ignores them. */
  readonly stopTokens: readonly number[];
  /** Report the chosen token's log-probability and this many alternatives; null reports none. */
  readonly logprobs: number | null;
};

export const defaultSamplingParams: SamplingParams = {
  maxTokens: 256,
  minTokens: 0,
  temperature: 0.7,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: [],
  allowedTokens: null,
  seed: null,
  stopTokens: [],
  logprobs: null,
};
