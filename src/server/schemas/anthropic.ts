// The body of Anthropic's /v1/messages, as far as it is served. Fields that are not here are refused.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { samplingProperties as sampling } from './sampling.ts';

/** Anthropic's choice of what a cache may keep. This server decides that by itself. */
const cache_control = Type.Optional(Type.Unknown({ description: 'Not used.' }));
const Text = Type.Object({ type: Type.Literal('text'), text: Type.String(), cache_control });
const Texts = Type.Array(Text, { maxItems: limits.messages });
const Content = Type.Union([Type.String(), Texts], { title: 'a string or a list of text blocks' });

const Thought = Type.Object({ type: Type.Literal('thinking'), thinking: Type.String() });
const ToolUse = Type.Object({
  type: Type.Literal('tool_use'),
  id: Type.String(),
  name: Type.String(),
  input: Type.Record(Type.String(), Type.Unknown()),
  cache_control,
});
const ToolResult = Type.Object({
  type: Type.Literal('tool_result'),
  tool_use_id: Type.String(),
  content: Type.Optional(Content),
  is_error: Type.Optional(Type.Boolean()),
  cache_control,
});
const Block = Type.Union([Text, Thought, ToolUse, ToolResult], {
  title: 'a block of text, thinking, tool_use or tool_result',
});
export type AnthropicBlock = Type.Static<typeof Block>;

const Tool = Type.Object({
  type: Type.Optional(Type.Literal('custom')),
  name: Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }),
  description: Type.Optional(Type.String()),
  input_schema: Type.Record(Type.String(), Type.Unknown()),
  strict: Type.Optional(Type.Boolean()),
  cache_control,
});

const conversation = {
  model: Type.String({ maxLength: limits.adapterReferenceChars }),
  system: Type.Optional(Content),
  messages: Type.Array(
    Type.Object({
      role: Type.Enum(['user', 'assistant']),
      content: Type.Union([Type.String(), Type.Array(Block, { maxItems: limits.messages })], {
        title: 'a string or a list of blocks',
      }),
    }),
    { minItems: 1, maxItems: limits.messages },
  ),
  tools: Type.Optional(Type.Array(Tool, { maxItems: limits.tools, description: 'Functions that the model may call.' })),
  tool_choice: Type.Optional(
    Type.Object(
      {
        type: Type.Enum(['auto', 'any', 'tool', 'none']),
        name: Type.Optional(Type.String({ maxLength: 64 })),
        disable_parallel_tool_use: Type.Optional(Type.Boolean()),
      },
      { additionalProperties: false },
    ),
  ),
  thinking: Type.Optional(
    Type.Object({
      type: Type.Enum(['disabled', 'enabled', 'adaptive'], {
        description: 'Where the chat template has a switch for thinking; `budget_tokens` sets no limit.',
      }),
      budget_tokens: Type.Optional(Type.Integer()),
    }),
  ),
  output_config: Type.Optional(
    Type.Object(
      {
        format: Type.Optional(
          Type.Object({
            type: Type.Literal('json_schema'),
            schema: Type.Record(Type.String(), Type.Unknown()),
          }),
        ),
      },
      { additionalProperties: false, description: '`format`: the output is JSON of a schema.' },
    ),
  ),
  cache_control,
};

export const MessagesBody = Type.Object(
  {
    ...conversation,
    max_tokens: Type.Integer({ minimum: 1, maximum: limits.modelContext }),
    stop_sequences: Type.Optional(
      Type.Array(Type.String({ maxLength: limits.stopStringChars }), { maxItems: limits.stopStrings }),
    ),
    temperature: sampling.temperature,
    top_p: sampling.top_p,
    top_k: sampling.top_k,
    stream: Type.Optional(Type.Boolean({ default: false })),
    metadata: Type.Optional(Type.Unknown({ description: 'Not used.' })),
    service_tier: Type.Optional(Type.String({ description: 'Not used.' })),
  },
  { additionalProperties: false },
);
export type MessagesBody = Type.Static<typeof MessagesBody>;

export const CountBody = Type.Object(conversation, { additionalProperties: false });
export type CountBody = Type.Static<typeof CountBody>;
