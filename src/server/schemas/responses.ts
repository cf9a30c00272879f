// The body of OpenAI's /v1/responses, as far as it is served: text in, text out, nothing kept between two calls.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { samplingProperties as sampling } from './sampling.ts';

const Part = Type.Object({ type: Type.Enum(['input_text', 'output_text', 'text']), text: Type.String() });
const Item = Type.Object({
  type: Type.Optional(Type.Literal('message')),
  role: Type.Enum(['system', 'developer', 'user', 'assistant']),
  content: Type.Union([Type.String(), Type.Array(Part, { maxItems: limits.messages })], {
    title: 'a string or a list of text parts',
  }),
});

export const ResponsesBody = Type.Object({
  model: Type.Optional(Type.String({ maxLength: limits.adapterReferenceChars })),
  input: Type.Union([Type.String(), Type.Array(Item, { minItems: 1, maxItems: limits.messages })], {
    title: 'a text or a list of messages',
  }),
  instructions: Type.Optional(Type.String({ description: 'A system message before the input.' })),
  max_output_tokens: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.modelContext })),
  temperature: sampling.temperature,
  top_p: sampling.top_p,
  seed: sampling.seed,
  stream: Type.Optional(Type.Boolean({ default: false })),
  store: Type.Optional(
    Type.Boolean({ description: 'Nothing is stored, whatever is asked for: the answer says false.' }),
  ),
  metadata: Type.Optional(Type.Record(Type.String(), Type.String())),
  text: Type.Optional(Type.Object({ format: Type.Optional(Type.Object({ type: Type.Literal('text') })) })),
  truncation: Type.Optional(Type.Literal('disabled')),
});
export type ResponsesBody = Type.Static<typeof ResponsesBody>;
