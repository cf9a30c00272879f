// Tools of a chat: those that a caller offers, and the calls in messages and answers.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';

const toolName = Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' });

export const Tool = Type.Object({
  type: Type.Literal('function'),
  function: Type.Object({
    name: toolName,
    description: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    parameters: Type.Optional(
      Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], { title: 'a JSON schema' }),
    ),
    strict: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  }),
});
export type Tool = Type.Static<typeof Tool>;

export const ToolChoice = Type.Union(
  [
    Type.Enum(['auto', 'none', 'required']),
    Type.Object({ type: Type.Literal('function'), function: Type.Object({ name: toolName }) }),
  ],
  { title: '`auto`, `none`, `required` or a function by its name' },
);
export type ToolChoice = Type.Static<typeof ToolChoice>;

export const ToolCall = Type.Object({
  id: Type.String(),
  type: Type.Literal('function'),
  function: Type.Object({ name: Type.String(), arguments: Type.String({ description: 'JSON, as text.' }) }),
});
export type ToolCall = Type.Static<typeof ToolCall>;

export const toolProperties = {
  tools: Type.Optional(Type.Array(Tool, { maxItems: limits.tools, description: 'Functions that the model may call.' })),
  tool_choice: Type.Optional(ToolChoice),
  parallel_tool_calls: Type.Optional(
    Type.Boolean({ default: true, description: 'With `tool_choice` required: more calls than one may be made.' }),
  ),
  chat_template_kwargs: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), { description: "Variables of the model's chat template." }),
  ),
  reasoning_effort: Type.Optional(
    Type.Enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh'], {
      description: 'Where the chat template knows it, or has a switch for thinking (`none` and `minimal` turn it off).',
    }),
  ),
};

export const ToolsBody = Type.Object(toolProperties);
export type ToolsBody = Type.Static<typeof ToolsBody>;

/** A part of a call in a stream: the name comes first, and the arguments as they are written. */
export const ToolCallDelta = Type.Object({
  index: Type.Integer(),
  id: Type.Optional(Type.String()),
  type: Type.Optional(Type.Literal('function')),
  function: Type.Object({ name: Type.Optional(Type.String()), arguments: Type.Optional(Type.String()) }),
});
export type ToolCallDelta = Type.Static<typeof ToolCallDelta>;
