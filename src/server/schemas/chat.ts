// The bodies and answers of /v1/chat/completions.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { FinishReason, openaiProperties, Usage } from './openai.ts';
import { Messages } from './prompt.ts';
import { maxTokens } from './sampling.ts';
import { ToolCall, ToolCallDelta, toolProperties } from './tools.ts';

export const ChatBody = Type.Object({
  ...openaiProperties,
  messages: Messages,
  ...toolProperties,
  max_tokens: maxTokens('all that the context leaves'),
  max_completion_tokens: maxTokens('max_tokens, whose newer name this is'),
  logprobs: Type.Optional(Type.Boolean({ default: false })),
  top_logprobs: Type.Optional(
    Type.Integer({ minimum: 0, maximum: limits.logprobs, description: 'Alternatives a token; needs `logprobs`.' }),
  ),
});
export type ChatBody = Type.Static<typeof ChatBody>;

const Token = Type.Object({
  token: Type.String(),
  logprob: Type.Number(),
  bytes: Type.Array(Type.Integer({ minimum: 0, maximum: 255 })),
});

const Logprobs = Type.Object({
  content: Type.Array(Type.Object({ ...Token.properties, top_logprobs: Type.Array(Token) })),
  refusal: Type.Null(),
});

export const ChatAnswer = Type.Object({
  id: Type.String(),
  object: Type.Literal('chat.completion'),
  created: Type.Integer({ description: 'Seconds since the epoch.' }),
  model: Type.String(),
  system_fingerprint: Type.String(),
  choices: Type.Array(
    Type.Object({
      index: Type.Integer(),
      message: Type.Object({
        role: Type.Literal('assistant'),
        content: Type.Union([Type.String(), Type.Null()], { description: 'null where it is nothing but calls.' }),
        refusal: Type.Null(),
        reasoning_content: Type.Optional(Type.String({ description: 'What the model thought before it answered.' })),
        tool_calls: Type.Optional(Type.Array(ToolCall)),
      }),
      logprobs: Type.Union([Logprobs, Type.Null()]),
      finish_reason: FinishReason,
    }),
  ),
  usage: Usage,
});

export const ChatChunk = Type.Object({
  id: Type.String(),
  object: Type.Literal('chat.completion.chunk'),
  created: Type.Integer(),
  model: Type.String(),
  system_fingerprint: Type.String(),
  choices: Type.Array(
    Type.Object({
      index: Type.Integer(),
      delta: Type.Object({
        role: Type.Optional(Type.Literal('assistant')),
        content: Type.Optional(Type.String()),
        reasoning_content: Type.Optional(Type.String()),
        tool_calls: Type.Optional(Type.Array(ToolCallDelta)),
      }),
      logprobs: Type.Union([Logprobs, Type.Null()]),
      finish_reason: Type.Union([FinishReason, Type.Null()]),
    }),
  ),
  usage: Type.Optional(Type.Union([Usage, Type.Null()])),
});
