// The bodies and answers of /v1/generate.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { defaultSamplingParams } from '../../core/sampling-params.ts';
import { FinishReason } from './openai.ts';
import { Messages, TokenIds } from './prompt.ts';
import { maxTokens, samplingProperties } from './sampling.ts';
import { structuredProperties } from './structured.ts';

const scale = (description: string) => Type.Optional(Type.Number({ minimum: 0, maximum: 2, default: 1, description }));

const reference = (options: { description?: string } = {}) =>
  Type.String({ minLength: 1, maxLength: limits.adapterReferenceChars, ...options });

/** Unknown fields are refused: a misspelt one would be ignored silently. */
export const GenerateBody = Type.Object(
  {
    prompt: Type.Optional(
      Type.Union([Type.String(), TokenIds], {
        title: 'a text or a list of token ids',
        description: 'Text as it is, special tokens parsed; or token ids. Either this or `messages`.',
      }),
    ),
    messages: Type.Optional(Messages),
    adapter_id: Type.Optional(
      reference({ description: '`name`, `name@version` or `name:alias`; none means the base model.' }),
    ),
    adapter_scale: scale('Multiplies what the adapter adds.'),
    adapters: Type.Optional(
      Type.Array(
        Type.Object(
          { id: reference(), scale: scale('Multiplies what this adapter adds.') },
          { additionalProperties: false },
        ),
        { maxItems: limits.appliedAdapters, description: 'Several adapters at once, each with its scale.' },
      ),
    ),
    use_merge: Type.Optional(
      Type.Boolean({ default: true, description: "false: on the base's weights, also where the adapter is merged." }),
    ),
    max_tokens: maxTokens(`${defaultSamplingParams.maxTokens}`),
    ...samplingProperties,
    ...structuredProperties,
    logprobs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: limits.logprobs,
        description: 'Report each generated token with this many of the most likely alternatives.',
      }),
    ),
    stream: Type.Optional(
      Type.Boolean({ default: false, description: 'Answer as server-sent events, a token at a time.' }),
    ),
  },
  { additionalProperties: false },
);
export type GenerateBody = Type.Static<typeof GenerateBody>;

const TokenLogprob = Type.Object({ id: Type.Integer(), token: Type.String(), logprob: Type.Number() });

const adapter = {
  name: Type.String(),
  version: Type.Integer(),
  digest: Type.String(),
  merged_bits: Type.Union([Type.Integer(), Type.Null()], {
    description: "Bits of the merged weights that it ran on; null: on the base's, the adapter beside them.",
  }),
};

export const GenerateAnswer = Type.Object({
  id: Type.String(),
  model: Type.String(),
  adapter: Type.Union([Type.Object(adapter), Type.Null()], {
    description: 'Whose weights gave this answer; null for the base model, and for several adapters.',
  }),
  adapters: Type.Optional(
    Type.Array(Type.Object({ ...adapter, scale: Type.Number() }), { description: 'Where several were applied.' }),
  ),
  text: Type.String(),
  finish_reason: FinishReason,
  usage: Type.Object({
    prompt_tokens: Type.Integer(),
    completion_tokens: Type.Integer(),
    cached_tokens: Type.Integer(),
  }),
  timings: Type.Object({ queue_ms: Type.Number(), prefill_ms: Type.Number(), decode_ms: Type.Number() }),
  logprobs: Type.Optional(
    Type.Array(
      Type.Object(
        { ...TokenLogprob.properties, top: Type.Array(TokenLogprob) },
        {
          description: 'One for each generated token: natural logarithms before temperature and filters.',
        },
      ),
    ),
  ),
});
export type GenerateAnswer = Type.Static<typeof GenerateAnswer>;

/** One server-sent event. The last one before `[DONE]` is a GenerateAnswer. */
export const TokenEvent = Type.Object({
  token: Type.Object({
    id: Type.Union([Type.Integer(), Type.Null()], {
      description: 'null for text that was held back (a possible stop string, half a character) until the end.',
    }),
    text: Type.String({ description: 'What became certain with this token; empty inside a multi-byte character.' }),
    logprob: Type.Union([Type.Number(), Type.Null()], { description: 'null unless `logprobs` is asked for.' }),
    top: Type.Optional(Type.Array(TokenLogprob)),
  }),
});
