// The bodies of Ollama's routes, as far as they are served. Fields that are not here are refused.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { samplingProperties as sampling } from './sampling.ts';
import { toolProperties } from './tools.ts';

const options = Type.Optional(
  Type.Object(
    {
      temperature: sampling.temperature,
      top_p: sampling.top_p,
      top_k: sampling.top_k,
      min_p: sampling.min_p,
      seed: sampling.seed,
      stop: sampling.stop,
      num_predict: Type.Optional(Type.Integer({ minimum: -2, maximum: limits.modelContext })),
      repeat_penalty: sampling.repetition_penalty,
      frequency_penalty: sampling.frequency_penalty,
      presence_penalty: sampling.presence_penalty,
      num_ctx: Type.Optional(Type.Integer({ description: "Not used: the context is the server's." })),
    },
    { additionalProperties: false },
  ),
);
const shared = {
  model: Type.String({ maxLength: limits.adapterReferenceChars, description: '`:latest` at its end means nothing.' }),
  stream: Type.Optional(Type.Boolean({ default: true })),
  options,
  keep_alive: Type.Optional(Type.Unknown({ description: 'Not used: adapters are loaded and dropped by need.' })),
  think: Type.Optional(
    Type.Union([Type.Boolean(), Type.Enum(['low', 'medium', 'high'])], {
      title: 'a boolean, low, medium or high',
      description: 'Where the chat template has a switch for thinking.',
    }),
  ),
  format: Type.Optional(
    Type.Union([Type.Enum(['', 'json']), Type.Record(Type.String(), Type.Unknown())], {
      title: '`json` or a JSON schema',
    }),
  ),
};

const Turn = Type.Object({
  role: Type.Enum(['system', 'user', 'assistant', 'tool']),
  content: Type.Optional(Type.String()),
  thinking: Type.Optional(Type.String()),
  images: Type.Optional(Type.Array(Type.Unknown(), { maxItems: 0 })),
  tool_name: Type.Optional(Type.String()),
  tool_calls: Type.Optional(
    Type.Array(
      Type.Object({
        function: Type.Object({ name: Type.String(), arguments: Type.Record(Type.String(), Type.Unknown()) }),
      }),
      { maxItems: limits.tools },
    ),
  ),
});
export type OllamaTurn = Type.Static<typeof Turn>;

export const OllamaChatBody = Type.Object(
  {
    ...shared,
    messages: Type.Array(Turn, { minItems: 1, maxItems: limits.messages }),
    tools: toolProperties.tools,
  },
  { additionalProperties: false },
);
export const OllamaGenerateBody = Type.Object(
  {
    ...shared,
    prompt: Type.String(),
    system: Type.Optional(Type.String()),
    raw: Type.Optional(Type.Boolean({ default: false, description: 'The prompt as it is, without the template.' })),
  },
  { additionalProperties: false },
);
export type OllamaBody = Type.Static<typeof OllamaChatBody> | Type.Static<typeof OllamaGenerateBody>;
