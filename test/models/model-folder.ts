// Writes a tiny model as a folder of safetensors with config.json, with chosen faults.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelShape } from '../../src/core/base-model.ts';
import { type TensorToWrite, writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { tensorSpecs } from '../../src/models/tensor-specs.ts';

export const tinyShape: ModelShape = {
  architecture: 'llama',
  layers: 2,
  hidden: 8,
  intermediate: 12,
  heads: 2,
  kvHeads: 1,
  headDim: 4,
  vocabulary: 10,
  context: 64,
  ropeTheta: 10_000,
  ropeScaling: null,
  rmsNormEps: 1e-5,
  tiedEmbedding: false,
};

export const tinyConfig = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  num_hidden_layers: 2,
  hidden_size: 8,
  intermediate_size: 12,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 10,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
};

/** Every tensor of the shape, filled with its ordinal. */
export function tinyTensors(shape: ModelShape = tinyShape): TensorToWrite[] {
  return tensorSpecs(shape).map((spec, ordinal) => {
    const count = spec.shape.reduce((product, dimension) => product * dimension, 1);
    const bytes = new Uint8Array(new Float32Array(count).fill(ordinal).buffer);
    return { name: spec.name, type: 'F32', shape: spec.shape, bytes };
  });
}

export function writeModelFolder(
  folder: string,
  config: object = tinyConfig,
  tensors: readonly TensorToWrite[] = tinyTensors(),
): string {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(tensors, { format: 'pt' }));
  return folder;
}
