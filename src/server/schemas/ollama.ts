// The bodies of Ollama's routes, as far as they are served. Fields that are not here are refused.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { Messages } from './prompt.ts';
import { samplingProperties as sampling } from './sampling.ts';

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
  think: Type.Optional(Type.Literal(false)),
};

export const OllamaChatBody = Type.Object(
  { ...shared, messages: Messages, tools: Type.Optional(Type.Array(Type.Unknown(), { maxItems: 0 })) },
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
