// Fields that OpenAI's completions and chat completions share. Unknown fields are ignored, as in vLLM, except those in
// unsupported.ts, which would change the answer.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { samplingProperties } from './sampling.ts';
import { structuredProperties } from './structured.ts';

export const modelName = Type.Optional(
  Type.String({
    maxLength: limits.adapterReferenceChars,
    description: 'The base model, or an adapter as `name`, `name@version` or `name:alias`; none means the base model.',
  }),
);

export const openaiProperties = {
  model: modelName,
  ...samplingProperties,
  ...structuredProperties,
  n: Type.Optional(
    Type.Integer({ minimum: 1, maximum: limits.choices, default: 1, description: 'Choices for each prompt.' }),
  ),
  stream: Type.Optional(Type.Boolean({ default: false })),
  stream_options: Type.Optional(
    Type.Object({
      include_usage: Type.Optional(
        Type.Union([Type.Boolean(), Type.Enum(['true', 'false'])], {
          title: 'a boolean',
          description: 'One more event before `[DONE]`, with the usage and no choices.',
        }),
      ),
    }),
  ),
};

export const Usage = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  total_tokens: Type.Integer(),
  prompt_tokens_details: Type.Object({ cached_tokens: Type.Integer() }),
});
export type Usage = Type.Static<typeof Usage>;

export const FinishReason = Type.Enum(['stop', 'length', 'tool_calls', 'abort'], {
  description: '`abort` stands only in an answer whose reader has left.',
});
