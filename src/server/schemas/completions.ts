// The bodies and answers of /v1/completions.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { FinishReason, openaiProperties, Usage } from './openai.ts';
import { TokenIds } from './prompt.ts';
import { maxTokens } from './sampling.ts';

/** OpenAI's default of max_tokens in this route. */
export const completionsMaxTokens = 16;

export const CompletionsBody = Type.Object({
  ...openaiProperties,
  prompt: Type.Union(
    [
      Type.String(),
      Type.Array(Type.String(), { minItems: 1, maxItems: limits.prompts }),
      TokenIds,
      Type.Array(TokenIds, { minItems: 1, maxItems: limits.prompts }),
    ],
    { title: 'a text, a list of texts, a list of token ids or a list of such lists' },
  ),
  max_tokens: Type.Optional(Type.Integer({ ...maxTokens(`${completionsMaxTokens}`), minimum: 0 })),
  logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: limits.logprobs })),
  echo: Type.Optional(
    Type.Boolean({ default: false, description: 'The prompt before the text; with `logprobs` its tokens too.' }),
  ),
  best_of: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.choices,
      description: 'Generate so many and give the `n` whose tokens are the most likely on average. Not in a stream.',
    }),
  ),
});
export type CompletionsBody = Type.Static<typeof CompletionsBody>;

const Logprobs = Type.Object({
  tokens: Type.Array(Type.String()),
  token_logprobs: Type.Array(Type.Union([Type.Number(), Type.Null()])),
  top_logprobs: Type.Array(Type.Union([Type.Record(Type.String(), Type.Number()), Type.Null()])),
  text_offset: Type.Array(Type.Integer()),
});
export type CompletionLogprobs = Type.Static<typeof Logprobs>;

export const CompletionsAnswer = Type.Object({
  id: Type.String(),
  object: Type.Literal('text_completion'),
  created: Type.Integer({ description: 'Seconds since the epoch.' }),
  model: Type.String(),
  system_fingerprint: Type.String(),
  choices: Type.Array(
    Type.Object({
      index: Type.Integer({ description: 'Prompt number times `n`, plus the number of the choice.' }),
      text: Type.String(),
      logprobs: Type.Union([Logprobs, Type.Null()]),
      finish_reason: FinishReason,
    }),
  ),
  usage: Usage,
});
