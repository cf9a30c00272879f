// Reads a model's shape from the metadata of its GGUF file.

import type { Architecture, ModelShape, RopeScaling } from '../core/base-model.ts';
import { limits } from '../core/limits.ts';
import type { GgufFile } from '../formats/gguf.ts';
import { architectures, supportedArchitectures } from './architectures.ts';
import { checkShape } from './check-shape.ts';
import { type Fields, fields, show, unsupported } from './fields.ts';

/**
 * Reads the shape. `ropeFactors`: values of rope_freqs.weight, a divisor for each rotary pair; null where the file has
 * none.
 */
export function ggufShape(file: GgufFile, ropeFactors: Float32Array | null): ModelShape {
  const metadata = fields('GGUF metadata', (key) => file.metadata.get(key));
  const name = metadata.text('general.architecture');
  const architecture = (Object.keys(architectures) as Architecture[]).find((row) => architectures[row].gguf === name);
  if (architecture === undefined) {
    unsupported(`GGUF architecture ${show(name)}; supported are ${supportedArchitectures.join(', ')}`);
  }
  if (Number(metadata.get('split.count') ?? 1) > 1) unsupported('GGUF files that are split into parts');
  const own = fields('GGUF metadata', (key) => file.metadata.get(`${name}.${key}`));
  const hidden = own.count('embedding_length', limits.modelHidden);
  const heads = own.count('attention.head_count', limits.modelHeads);
  const headDim = own.count('attention.key_length', limits.modelHeadDim, hidden / heads);
  const context = own.count('context_length', limits.modelContext);
  const row = architectures[architecture];
  refuseVariants(own, headDim, row.traits.fusedRows === true);
  const ropeTheta = own.positive('rope.freq_base', 10_000);
  const embedding = file.tensors.find((tensor) => tensor.name === 'token_embd.weight');
  const shape = {
    architecture,
    layers: own.count('block_count', limits.modelLayers),
    hidden,
    intermediate: own.count('feed_forward_length', limits.modelIntermediate),
    heads,
    kvHeads: own.count('attention.head_count_kv', heads, heads),
    headDim,
    // The tensor's size is used: some files have no vocab_size, some a larger one.
    vocabulary: fields('GGUF file', () => embedding?.shape[0]).count('token_embd.weight', limits.modelVocabulary),
    context,
    ropeTheta,
    ropeScaling: ropeScaling(own, ropeFactors, ropeTheta, headDim),
    rmsNormEps: own.positive('attention.layer_norm_rms_epsilon'),
    tiedEmbedding: !file.tensors.some((tensor) => tensor.name === 'output.weight'),
  };
  return checkShape({ ...shape, ...row.traits, ...row.fromGguf(own, shape) });
}

/** Refuses keys under which a known architecture computes something that the graph does not. */
function refuseVariants(own: Fields, headDim: number, turnsPart: boolean): void {
  const valueDim = own.count('attention.value_length', limits.modelHeadDim, headDim);
  if (valueDim !== headDim) unsupported(`value heads of ${valueDim} beside key heads of ${headDim}`);
  const rotary = own.count('rope.dimension_count', limits.modelHeadDim, headDim);
  if (rotary !== headDim && !turnsPart) unsupported(`rotary positions on ${rotary} of ${headDim} dimensions`);
  if (Number(own.get('expert_count') ?? 0) > 0) unsupported('mixtures of experts');
}

function ropeScaling(own: Fields, factors: Float32Array | null, theta: number, headDim: number): RopeScaling | null {
  const kind = own.get('rope.scaling.type') ?? 'none';
  if (factors !== null) {
    if (kind !== 'none') unsupported(`rope_freqs.weight beside rope scaling ${show(kind)}`);
    if (factors.length !== headDim / 2) unsupported(`${factors.length} rotary divisors for heads of ${headDim}`);
    return llama3Scaling(factors, theta);
  }
  if (kind === 'linear') return { kind, factor: own.positive('rope.scaling.factor') };
  if (kind !== 'none') unsupported(`rope scaling ${show(kind)}`);
  return null;
}

/**
 * Reconstructs Llama 3's scaling rule. A Llama 3 file has the divisors instead of the rule. Every Llama 3 uses the rule
 * with these constants and a factor of its own, which is the largest divisor; other divisors are refused.
 */
function llama3Scaling(factors: Float32Array, theta: number): RopeScaling {
  const rule = {
    kind: 'llama3',
    factor: factors.reduce((a, b) => Math.max(a, b), 1),
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalContext: 8192,
  } as const;
  factors.forEach((found, pair) => {
    const turns = rule.originalContext / (2 * Math.PI * theta ** (pair / factors.length));
    const smooth = (turns - rule.lowFreqFactor) / (rule.highFreqFactor - rule.lowFreqFactor);
    const share = Math.min(Math.max(smooth, 0), 1);
    const expected = 1 / ((1 - share) / rule.factor + share);
    if (!(Math.abs(found - expected) <= 1e-4 * expected))
      unsupported("rope_freqs.weight does not follow Llama 3's rule");
  });
  return rule;
}
