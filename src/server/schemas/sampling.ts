// Sampling parameters of every route, by vLLM's and OpenAI's names. Every number has a lower and an upper bound.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { defaultSamplingParams as defaults } from '../../core/sampling-params.ts';

const stopString = Type.String({ maxLength: limits.stopStringChars });

/** Fields of every route that uses the engine. */
export const requestProperties = {
  cache_salt: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: limits.cacheSaltChars,
      description: 'What is computed of this prompt is used again only for requests with the same salt.',
    }),
  ),
  timeout_ms: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.answerTimeoutMs,
      description:
        'Milliseconds from the arrival of the request after which nobody waits for its answer. What would come too ' +
        'late is refused at once with 503 and Retry-After, what comes too late is given up with 504.',
    }),
  ),
};

export const samplingProperties = {
  temperature: Type.Optional(
    Type.Number({ minimum: 0, maximum: 2, default: defaults.temperature, description: '0 is greedy.' }),
  ),
  top_p: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      default: defaults.topP,
      description: 'Keep the smallest set of tokens whose probability reaches this; 0 keeps the most likely one.',
    }),
  ),
  top_k: Type.Optional(
    Type.Integer({
      minimum: -1,
      maximum: limits.modelVocabulary,
      default: defaults.topK,
      description: 'Keep this many of the most likely tokens; 0 and -1 keep all.',
    }),
  ),
  min_p: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      default: defaults.minP,
      description: "Keep tokens at least this share of the most likely one's probability.",
    }),
  ),
  seed: Type.Optional(
    Type.Integer({
      minimum: -(2 ** 63),
      maximum: 2 ** 63,
      description:
        'Any signed 64-bit integer. The same request alone with the same seed gives the same text. ' +
        'Choice i of `n` uses seed + i.',
    }),
  ),
  stop: Type.Optional(
    Type.Union([stopString, Type.Array(stopString, { maxItems: limits.stopStrings })], {
      title: `a string of at most ${limits.stopStringChars} characters or a list of at most ${limits.stopStrings}`,
      description: 'The output ends before the first of these. Found in the text, so also across tokens.',
    }),
  ),
  stop_token_ids: Type.Optional(
    Type.Array(Type.Integer({ minimum: 0, maximum: limits.modelVocabulary }), {
      maxItems: limits.stopTokens,
      description: "Tokens that end the output, besides the model's own end.",
    }),
  ),
  include_stop_str_in_output: Type.Optional(
    Type.Boolean({ default: false, description: 'The output ends with the string that stopped it.' }),
  ),
  min_tokens: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: limits.modelContext,
      default: 0,
      description: 'Neither the end nor a stop string or token comes before so many tokens.',
    }),
  ),
  allowed_token_ids: Type.Optional(
    Type.Array(Type.Integer({ minimum: 0, maximum: limits.modelVocabulary }), {
      minItems: 1,
      maxItems: limits.allowedTokens,
      description: "Only these tokens are drawn, besides the model's own end where it is among them.",
    }),
  ),
  ignore_eos: Type.Optional(
    Type.Boolean({ default: false, description: "Go on past the model's own end of text, up to max_tokens." }),
  ),
  repetition_penalty: Type.Optional(
    Type.Number({ exclusiveMinimum: 0, maximum: 2, default: defaults.repetitionPenalty }),
  ),
  frequency_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2, default: defaults.frequencyPenalty })),
  presence_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2, default: defaults.presencePenalty })),
  logit_bias: Type.Optional(
    Type.Record(Type.String({ pattern: '^[0-9]{1,7}$' }), Type.Number({ minimum: -100, maximum: 100 }), {
      maxProperties: limits.logitBias,
      additionalProperties: false,
      description: 'Token id to a number that is added to its logit.',
    }),
  ),
  ...requestProperties,
};

/** The field `max_tokens`, whose default is all that differs between routes. */
export const maxTokens = (byDefault: string) =>
  Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.modelContext,
      description: `Longest output in tokens. Default: ${byDefault}, or what the context leaves after the prompt where
that is less. One that is given and does not fit is refused with context_length_exceeded, as vLLM does.`.replace(
        '\n',
        ' ',
      ),
    }),
  );

export const SamplingBody = Type.Object(samplingProperties);
export type SamplingBody = Type.Static<typeof SamplingBody>;
