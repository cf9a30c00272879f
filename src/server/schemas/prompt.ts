// What a prompt may be: text, token ids, messages.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { ToolCall } from './tools.ts';

export const TokenIds = Type.Array(Type.Integer({ minimum: 0, maximum: limits.modelVocabulary }), { minItems: 1 });

/** A chat turn. Text only: a part of another type is refused, since leaving it out would change the question. */
export const Message = Type.Object({
  role: Type.Enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: Type.Optional(
    Type.Union(
      [
        Type.String(),
        Type.Null(),
        Type.Array(Type.Object({ type: Type.Literal('text'), text: Type.String() }), {
          minItems: 1,
          maxItems: limits.messages,
        }),
      ],
      { title: 'a string or a list of text parts' },
    ),
  ),
  name: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  tool_calls: Type.Optional(Type.Union([Type.Array(ToolCall, { maxItems: limits.tools }), Type.Null()])),
  tool_call_id: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  reasoning_content: Type.Optional(Type.Union([Type.String(), Type.Null()])),
});
export type Message = Type.Static<typeof Message>;

export const Messages = Type.Array(Message, { minItems: 1, maxItems: limits.messages });
