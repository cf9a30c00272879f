// Parameters of choosing the next token. HTTP schemas check their ranges; the engine trusts them.

export type SamplingParams = {
  readonly maxTokens: number;
  /** Tokens before which no stop token is drawn. */
  readonly minTokens: number;
  /** 0 is greedy. */
  readonly temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the smallest set whose probability reaches this; 1 keeps all. */
  readonly topP: number;
  /** Keep tokens whose probability is at least this share of the most likely one's; 0 keeps all. */
  readonly minP: number;
  /** Divides positive and multiplies negative logits of every token in prompt or output; 1 changes nothing. */
  readonly repetitionPenalty: number;
  /** Subtracted from a token's logit for each of its occurrences in the output; 0 changes nothing. */
  readonly frequencyPenalty: number;
  /** Subtracted once from the logit of every token in the output; 0 changes nothing. */
  readonly presencePenalty: number;
  /** Pairs [token, bias], added to logits before anything else. */
  readonly logitBias: readonly (readonly [number, number])[];
  /** The only tokens that may be drawn; null: all may. */
  readonly allowedTokens: readonly number[] | null;
  /** A safe integer; null: a seed is drawn. */
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
