// The bodies of text-generation-inference's and LoRAX's routes. Fields that are not here are refused.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { samplingProperties as sampling } from './sampling.ts';
import { structuredProperties } from './structured.ts';

export const TgiParameters = Type.Object(
  {
    adapter_id: Type.Optional(Type.String({ maxLength: limits.adapterReferenceChars, description: "LoRAX's field." })),
    adapter_source: Type.Optional(Type.Enum(['local', 'hub'], { description: "Adapters are this server's own." })),
    api_token: Type.Optional(Type.String({ description: 'Not used, not kept.' })),
    max_new_tokens: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.modelContext, default: 100 })),
    do_sample: Type.Optional(Type.Boolean({ default: false })),
    temperature: sampling.temperature,
    top_p: sampling.top_p,
    top_k: sampling.top_k,
    typical_p: Type.Optional(Type.Literal(1)),
    repetition_penalty: sampling.repetition_penalty,
    frequency_penalty: sampling.frequency_penalty,
    seed: sampling.seed,
    stop: Type.Optional(
      Type.Array(Type.String({ maxLength: limits.stopStringChars }), { maxItems: limits.stopStrings }),
    ),
    ignore_eos_token: sampling.ignore_eos,
    return_full_text: Type.Optional(Type.Boolean({ default: false })),
    details: Type.Optional(Type.Boolean({ default: false })),
    decoder_input_details: Type.Optional(Type.Literal(false)),
    best_of: Type.Optional(Type.Literal(1)),
    watermark: Type.Optional(Type.Literal(false)),
    apply_chat_template: Type.Optional(Type.Boolean({ default: false, description: "`inputs` is a user's turn." })),
    top_n_tokens: Type.Optional(Type.Integer({ minimum: 0, maximum: limits.logprobs })),
    grammar: Type.Optional(
      Type.Object(
        { type: Type.Enum(['json', 'json_object', 'json_schema', 'regex']), value: Type.Unknown() },
        { additionalProperties: false, description: 'A JSON schema or a regular expression that the text has.' },
      ),
    ),
    response_format: Type.Optional({
      ...structuredProperties.response_format,
      description: "LoRAX's field, and OpenAI's: JSON, or JSON of a schema.",
    }),
    truncate: Type.Optional(Type.Integer({ minimum: 1, description: 'Keep the last so many prompt tokens.' })),
  },
  { additionalProperties: false },
);
export type TgiParameters = Type.Static<typeof TgiParameters>;

export const TgiBody = Type.Object(
  {
    inputs: Type.String(),
    parameters: Type.Optional(TgiParameters),
    stream: Type.Optional(Type.Boolean({ default: false, description: 'Of `/` alone.' })),
    model: Type.Optional(Type.String({ description: 'Not used: `adapter_id` names an adapter.' })),
    options: Type.Optional(Type.Unknown({ description: 'Not used.' })),
  },
  { additionalProperties: false },
);
export type TgiBody = Type.Static<typeof TgiBody>;
