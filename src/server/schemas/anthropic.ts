// The body of Anthropic's /v1/messages, as far as it is served. Fields that are not here are refused.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { samplingProperties as sampling } from './sampling.ts';

const Texts = Type.Array(Type.Object({ type: Type.Literal('text'), text: Type.String() }), {
  maxItems: limits.messages,
});
const Content = Type.Union([Type.String(), Texts], { title: 'a string or a list of text blocks' });

const conversation = {
  model: Type.String({ maxLength: limits.adapterReferenceChars }),
  system: Type.Optional(Content),
  messages: Type.Array(Type.Object({ role: Type.Enum(['user', 'assistant']), content: Content }), {
    minItems: 1,
    maxItems: limits.messages,
  }),
  tools: Type.Optional(Type.Array(Type.Unknown(), { maxItems: 0 })),
  thinking: Type.Optional(Type.Object({ type: Type.Literal('disabled') })),
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
