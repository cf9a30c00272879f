// The queries and answers of offline work on an adapter's weights: merged exports, analyses.

import { type TSchema, Type } from '@fastify/type-provider-typebox';

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const ExportQuery = Type.Object(
  {
    format: Type.Enum(['safetensors', 'gguf'], {
      description: 'A tar of the folder that transformers loads, or the file that llama.cpp loads.',
    }),
    dtype: Type.Optional(
      Type.Enum(['F16', 'BF16', 'F32'], {
        description: 'Of the merged weights (F16), in safetensors of all. In GGUF the others keep what the base has.',
      }),
    ),
    unpacked: Type.Optional(
      Type.Enum(['true', 'false'], {
        description: 'GGUF: the other matrices are of `dtype` too, as llama-quantize takes them (false).',
      }),
    ),
  },
  { additionalProperties: false },
);

export const AnalysisQuery = Type.Object(
  {
    against: Type.Optional(Type.String({ minLength: 1, description: 'Another adapter, to compare directions with.' })),
  },
  { additionalProperties: false },
);

const Grid = Type.Object({
  own: Type.Array(Type.Integer(), { description: 'Numbers i of leading directions of this adapter.' }),
  other: Type.Array(Type.Integer(), { description: 'Numbers j of leading directions of the other.' }),
  phi: Type.Array(Type.Array(Type.Number()), { description: 'phi[a][b] for i = own[a], j = other[b]: 0 to 1.' }),
});

const Similarity = Type.Object({ input: Grid, output: Grid });

const ofLinear = {
  r: Type.Integer(),
  scaling: Type.Number(),
  singular_values: Type.Array(Type.Number(), { description: 'The largest ones, descending.' }),
  frobenius_norm: Type.Number(),
  effective_rank: Type.Number({ description: 'exp of the entropy of the singular values (Roy and Vetterli 2007).' }),
  stable_rank: Type.Number({ description: 'Squared Frobenius norm over the squared largest singular value.' }),
  amplification: nullable(
    Type.Number({ description: 'Norm of the change over the norm of W along its directions (LoRA, section 7.3).' }),
  ),
};

export const LinearAnalysis = Type.Object({
  layer: nullable(Type.Integer({ description: 'null for lm_head.' })),
  module: Type.String(),
  ...ofLinear,
  similarity: nullable(Similarity),
});
export type LinearAnalysis = Type.Static<typeof LinearAnalysis>;

/** Means over a module's layers; the norm is that of all layers together. */
export const ModuleSummary = Type.Object({
  module: Type.String(),
  layers: Type.Integer(),
  r: Type.Integer({ description: 'The largest.' }),
  frobenius_norm: Type.Number(),
  effective_rank: Type.Number(),
  stable_rank: Type.Number(),
  amplification: nullable(Type.Number()),
  similarity: nullable(
    Type.Object({
      input: Type.Number({ description: 'phi of all directions of both.' }),
      output: Type.Number(),
    }),
  ),
});
export type ModuleSummary = Type.Static<typeof ModuleSummary>;

export const Analysis = Type.Object({
  id: Type.String(),
  object: Type.Literal('adapter.analysis'),
  digest: Type.String(),
  against: nullable(Type.Object({ id: Type.String(), digest: Type.String() })),
  uses_dora: Type.Boolean({ description: 'True: the figures are of s B A alone, before magnitudes.' }),
  modules: Type.Array(ModuleSummary),
  linears: Type.Array(LinearAnalysis, { description: 'By layer, within a layer by module, lm_head last.' }),
});
export type Analysis = Type.Static<typeof Analysis>;
