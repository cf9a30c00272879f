// Writes config.json for a model that came without one, from its shape: the inverse of config-shape.ts.

import type { ModelShape } from '../core/base-model.ts';
import { architectures } from './architectures.ts';

/** Makes the config with keys that every version of transformers reads. */
export function configOf(shape: ModelShape): Record<string, unknown> {
  const { modelTypes, classes, qkvBias, activation, toConfig } = architectures[shape.architecture];
  return {
    model_type: Object.keys(modelTypes)[0],
    architectures: [classes[0]],
    num_hidden_layers: shape.layers,
    hidden_size: shape.hidden,
    intermediate_size: shape.intermediate,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.headDim,
    vocab_size: shape.vocabulary,
    max_position_embeddings: shape.context,
    rope_theta: shape.ropeTheta,
    ...(shape.ropeScaling === null ? {} : { rope_scaling: ropeScalingOf(shape.ropeScaling) }),
    rms_norm_eps: shape.rmsNormEps,
    tie_word_embeddings: shape.tiedEmbedding,
    [activation[0]]: activation[1],
    // Qwen2 has its biases by its architecture; the other families have none.
    ...(qkvBias ? {} : { attention_bias: false }),
    ...toConfig(shape),
  };
}

function ropeScalingOf(scaling: NonNullable<ModelShape['ropeScaling']>): Record<string, unknown> {
  switch (scaling.kind) {
    case 'linear':
      return { rope_type: 'linear', factor: scaling.factor };
    case 'llama3':
      return {
        rope_type: 'llama3',
        factor: scaling.factor,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalContext,
      };
    case 'yarn':
      return {
        rope_type: 'yarn',
        factor: scaling.factor,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        attention_factor: scaling.attentionFactor,
        truncate: scaling.truncate,
        original_max_position_embeddings: scaling.originalContext,
      };
    case 'longrope':
      return {
        rope_type: 'longrope',
        short_factor: scaling.shortFactors,
        long_factor: scaling.longFactors,
        attention_factor: scaling.attentionFactor,
        original_max_position_embeddings: scaling.originalContext,
      };
  }
}
