// Reads a model's shape from its config.json.

import type { Architecture, ModelShape } from '../core/base-model.ts';
import { limits } from '../core/limits.ts';
import { architectures, supportedArchitectures } from './architectures.ts';
import { checkShape } from './check-shape.ts';
import { ropeFields, ropeScaling } from './config-rope.ts';
import type { Family } from './families/family.ts';
import { type Fields, fields, own, show, unsupported } from './fields.ts';

/**
 * Reads the shape. `hasHead`: the weights have an lm_head of their own, which decides where the config does not say.
 */
export function configShape(json: Readonly<Record<string, unknown>>, hasHead: boolean): ModelShape {
  const said = fields('config.json', own(json));
  const modelType = said.text('model_type');
  const architecture = architectureOf(said, modelType);
  const row = architectures[architecture];
  const defaults = row.modelTypes[modelType]!;
  // A key whose value is null overrides the default.
  const config = fields('config.json', own({ ...defaults, ...json }));
  refuseVariants(config, row);
  const hidden = config.count('hidden_size', limits.modelHidden);
  const heads = config.count('num_attention_heads', limits.modelHeads);
  const rope = ropeFields(config);
  for (const source of [config, rope]) {
    const factor = Number(source.get('partial_rotary_factor') ?? 1);
    if (factor !== 1 && !row.traits.fusedRows) unsupported('partial_rotary_factor other than 1');
  }
  const theta = rope.get('rope_theta') === undefined ? config : rope;
  const shape = {
    architecture,
    layers: config.count('num_hidden_layers', limits.modelLayers),
    hidden,
    intermediate: config.count('intermediate_size', limits.modelIntermediate),
    heads,
    kvHeads: config.count('num_key_value_heads', heads, heads),
    headDim: config.count('head_dim', limits.modelHeadDim, hidden / heads),
    vocabulary: config.count('vocab_size', limits.modelVocabulary),
    context: config.count('max_position_embeddings', limits.modelContext),
    ropeTheta: theta.positive('rope_theta', 10_000),
    ropeScaling: ropeScaling(rope, config),
    rmsNormEps: config.positive('rms_norm_eps'),
    tiedEmbedding: typeof json.tie_word_embeddings === 'boolean' ? json.tie_word_embeddings : !hasHead,
  };
  return checkShape({ ...shape, ...row.traits, ...row.fromConfig(config, shape) });
}

function architectureOf(config: Fields, modelType: string): Architecture {
  for (const key of ['num_experts', 'num_local_experts', 'n_routed_experts']) {
    if (Number(config.get(key) ?? 0) > 0) unsupported(`${show(modelType)} is a mixture of experts (${key})`);
  }
  const names = Object.keys(architectures) as Architecture[];
  const name = names.find((row) => Object.hasOwn(architectures[row].modelTypes, modelType));
  if (name === undefined) {
    unsupported(`model_type ${show(modelType)}; supported are ${supportedArchitectures.join(', ')}`);
  }
  const classes = config.get('architectures');
  if (Array.isArray(classes) && !classes.some((item) => architectures[name].classes.includes(item))) {
    unsupported(`class ${show(classes[0])} of ${modelType}; it must be ${architectures[name].classes.join(' or ')}`);
  }
  return name;
}

/** Refuses settings under which a known architecture computes something that the graph does not. */
function refuseVariants(config: Fields, { activation: [key, name] }: Family): void {
  const activation = config.get(key) ?? name;
  if (activation !== name) unsupported(`${key} ${show(activation)}; only ${show(name)} is`);
  for (const bias of ['attention_bias', 'mlp_bias']) {
    if (config.get(bias) === true) unsupported(`${bias} is true in its config.json`);
  }
  if (config.get('quantization_config') !== undefined) unsupported('quantised safetensors (quantization_config)');
}
