// The forms of a prompt: text, token ids, messages.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { ToolCall } from './tools.ts';

export const TokenIds = Type.Array(Type.Integer({ minimum: 0, maximum: limits.modelVocabulary }), { minItems: 1 });

/**
 * A message of a chat. Parts of other types than text are refused, since leaving them out would change the question.
 */
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
