// The body of OpenAI's /v1/responses, as far as it is served: nothing is stored between two calls.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { samplingProperties as sampling } from './sampling.ts';
import { toolProperties } from './tools.ts';

const Part = Type.Object({ type: Type.Enum(['input_text', 'output_text', 'text']), text: Type.String() });
const Parts = Type.Array(Part, { maxItems: limits.messages });

const Turn = Type.Object({
  type: Type.Optional(Type.Literal('message')),
  role: Type.Enum(['system', 'developer', 'user', 'assistant']),
  content: Type.Union([Type.String(), Parts], { title: 'a string or a list of text parts' }),
});
const Call = Type.Object({
  type: Type.Literal('function_call'),
  call_id: Type.String(),
  name: Type.String(),
  arguments: Type.String({ description: 'JSON, as text.' }),
});
const CallOutput = Type.Object({
  type: Type.Literal('function_call_output'),
  call_id: Type.String(),
  output: Type.Union([Type.String(), Parts], { title: 'a string or a list of text parts' }),
});
const Thought = Type.Object({
  type: Type.Literal('reasoning'),
  content: Type.Optional(Type.Array(Type.Object({ type: Type.Literal('reasoning_text'), text: Type.String() }))),
});
const Item = Type.Union([Turn, Call, CallOutput, Thought], {
  title: 'a message, a function_call, a function_call_output or reasoning',
});
export type ResponseItem = Type.Static<typeof Item>;

const FunctionTool = Type.Object({
  type: Type.Literal('function'),
  name: Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }),
  description: Type.Optional(Type.String()),
  parameters: Type.Optional(
    Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], { title: 'a JSON schema' }),
  ),
  strict: Type.Optional(Type.Boolean()),
});

const Format = Type.Object({
  type: Type.Enum(['text', 'json_object', 'json_schema']),
  name: Type.Optional(Type.String()),
  description: Type.Optional(Type.String()),
  schema: Type.Optional(
    Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], { title: 'a JSON schema' }),
  ),
  strict: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
});

const conversation = {
  model: Type.Optional(Type.String({ maxLength: limits.adapterReferenceChars })),
  input: Type.Union([Type.String(), Type.Array(Item, { minItems: 1, maxItems: limits.messages })], {
    title: 'a text or a list of messages, calls and their outputs',
  }),
  instructions: Type.Optional(Type.String({ description: 'A system message before the input.' })),
  tools: Type.Optional(
    Type.Array(FunctionTool, { maxItems: limits.tools, description: 'Functions that the model may call.' }),
  ),
  tool_choice: Type.Optional(
    Type.Union(
      [
        Type.Enum(['auto', 'none', 'required']),
        Type.Object({ type: Type.Literal('function'), name: Type.String({ maxLength: 64 }) }),
      ],
      { title: '`auto`, `none`, `required` or a function by its name' },
    ),
  ),
  parallel_tool_calls: toolProperties.parallel_tool_calls,
  reasoning: Type.Optional(
    Type.Object({
      effort: toolProperties.reasoning_effort,
      summary: Type.Optional(
        Type.Enum(['auto', 'concise', 'detailed'], { description: 'What is thought comes whole.' }),
      ),
    }),
  ),
  text: Type.Optional(Type.Object({ format: Type.Optional(Format), verbosity: Type.Optional(Type.Literal('medium')) })),
  truncation: Type.Optional(Type.Literal('disabled')),
};

export const ResponsesBody = Type.Object({
  ...conversation,
  max_output_tokens: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.modelContext })),
  temperature: sampling.temperature,
  top_p: sampling.top_p,
  seed: sampling.seed,
  top_logprobs: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: limits.logprobs,
      description: 'Alternatives a token, with `include: ["message.output_text.logprobs"]`.',
    }),
  ),
  include: Type.Optional(
    Type.Array(Type.Enum(['message.output_text.logprobs', 'reasoning.encrypted_content']), {
      description: 'Log-probabilities of the text. Nothing is encrypted: what is thought comes as it is.',
    }),
  ),
  stream: Type.Optional(Type.Boolean({ default: false })),
  stream_options: Type.Optional(Type.Object({ include_obfuscation: Type.Optional(Type.Boolean()) })),
  store: Type.Optional(
    Type.Boolean({ description: 'Nothing is stored, whatever is asked for: the answer says false.' }),
  ),
  metadata: Type.Optional(Type.Record(Type.String(), Type.String())),
});
export type ResponsesBody = Type.Static<typeof ResponsesBody>;

export const InputTokensBody = Type.Object(conversation);
export type InputTokensBody = Type.Static<typeof InputTokensBody>;
