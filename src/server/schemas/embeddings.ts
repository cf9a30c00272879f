// The body and the answer of /v1/embeddings.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { poolings } from '../../core/pooling.ts';
import { modelName } from './openai.ts';
import { TokenIds } from './prompt.ts';
import { requestProperties } from './sampling.ts';

export const EmbeddingsBody = Type.Object({
  model: modelName,
  input: Type.Union(
    [Type.String(), Type.Array(Type.String(), { minItems: 1 }), TokenIds, Type.Array(TokenIds, { minItems: 1 })],
    {
      title: `a string, a list of token ids, or a list of at most ${limits.embeddingInputs} of either`,
      description: "Token ids are this model's own: /tokenize gives them.",
    },
  ),
  encoding_format: Type.Optional(
    Type.Enum(['float', 'base64'], {
      default: 'float',
      description: 'base64: 32-bit floats in little-endian order, as OpenAI has them.',
    }),
  ),
  dimensions: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.modelVocabulary,
      description: "Only the model's own number: the first numbers of its vectors mean nothing by themselves.",
    }),
  ),
  pooling: Type.Optional(
    Type.Enum([...poolings], {
      default: 'mean',
      description: "The mean of all tokens' hidden rows after the last norm, or the last token's row.",
    }),
  ),
  ...requestProperties,
});
export type EmbeddingsBody = Type.Static<typeof EmbeddingsBody>;

export const EmbeddingsAnswer = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(
    Type.Object({
      object: Type.Literal('embedding'),
      index: Type.Integer(),
      embedding: Type.Union([Type.Array(Type.Number()), Type.String()], {
        description: 'A vector of length 1, as numbers or in base64.',
      }),
    }),
  ),
  model: Type.String({
    description: "As the request named it; the header `x-adapter-digest` says an adapter's bytes.",
  }),
  pooling: Type.Enum([...poolings], { description: 'Which the vectors are.' }),
  system_fingerprint: Type.String({ description: "Of the base's weights." }),
  usage: Type.Object({ prompt_tokens: Type.Integer(), total_tokens: Type.Integer() }),
});
