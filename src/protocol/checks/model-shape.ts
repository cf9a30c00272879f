// Check of a model's shape, which the engine reads from the model's files.

import Type from 'typebox';
import { count, nullable, number } from './check-message.ts';

const architecture = Type.Enum(['llama', 'qwen2', 'qwen3', 'smollm3', 'granite', 'phi3', 'gemma2', 'gemma3']);

const ropeScaling = Type.Union([
  Type.Object({ kind: Type.Literal('linear'), factor: number }),
  Type.Object({
    ...{ kind: Type.Literal('yarn'), factor: number, originalContext: count },
    ...{ betaFast: number, betaSlow: number, attentionFactor: number, truncate: Type.Boolean() },
  }),
  Type.Object({
    ...{ kind: Type.Literal('longrope'), originalContext: count, attentionFactor: number },
    ...{ shortFactors: Type.Array(number), longFactors: Type.Array(number) },
  }),
  Type.Object({
    ...{ kind: Type.Literal('llama3'), factor: number, originalContext: count },
    ...{ lowFreqFactor: number, highFreqFactor: number },
  }),
]);

const layerAttention = Type.Object({ window: nullable(count), rope: nullable(Type.Enum(['global', 'local'])) });

export const modelShape = Type.Object({
  architecture,
  layers: count,
  hidden: count,
  intermediate: count,
  heads: count,
  kvHeads: count,
  headDim: count,
  vocabulary: count,
  context: count,
  ropeTheta: number,
  ropeScaling: nullable(ropeScaling),
  rmsNormEps: number,
  tiedEmbedding: Type.Boolean(),
  attention: Type.Optional(Type.Array(layerAttention)),
  ropeDims: Type.Optional(count),
  localRopeTheta: Type.Optional(number),
  attentionScale: Type.Optional(number),
  attentionSoftcap: Type.Optional(number),
  logitsSoftcap: Type.Optional(number),
  embeddingScale: Type.Optional(number),
  scaledTable: Type.Optional(Type.Literal(true)),
  residualScale: Type.Optional(number),
  logitsScale: Type.Optional(number),
  activation: Type.Optional(Type.Literal('gelu')),
  outputNorms: Type.Optional(Type.Literal(true)),
  norms: Type.Optional(Type.Literal('around one')),
  fusedRows: Type.Optional(Type.Literal(true)),
});
