// The shape of a model from its config.json.

import type { Architecture, ModelShape, RopeScaling } from '../core/base-model.ts';
import { limits } from '../core/limits.ts';
import { architectures, supportedArchitectures } from './architectures.ts';
import { checkShape } from './check-shape.ts';
import { type Fields, fields, show, unsupported } from './fields.ts';

/** `hasHead`: the weights hold an lm_head of their own, which decides where the config does not say. */
export function configShape(json: Readonly<Record<string, unknown>>, hasHead: boolean): ModelShape {
  const config = fields('config.json', own(json));
  const architecture = architectureOf(config);
  refuseVariants(config);
  const hidden = config.count('hidden_size', limits.modelHidden);
  const heads = config.count('num_attention_heads', limits.modelHeads);
  const rope = ropeFields(json);
  for (const source of [config, rope]) {
    if (Number(source.get('partial_rotary_factor') ?? 1) !== 1) unsupported('partial_rotary_factor other than 1');
  }
  const theta = rope.get('rope_theta') === undefined ? config : rope;
  return checkShape({
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
    ropeScaling: ropeScaling(rope),
    rmsNormEps: config.positive('rms_norm_eps'),
    tiedEmbedding: typeof json.tie_word_embeddings === 'boolean' ? json.tie_word_embeddings : !hasHead,
  });
}

function architectureOf(config: Fields): Architecture {
  const modelType = config.text('model_type');
  const names = Object.keys(architectures) as Architecture[];
  const name = names.find((row) => architectures[row].modelTypes.includes(modelType));
  if (name === undefined) {
    unsupported(`model_type ${show(modelType)}; supported are ${supportedArchitectures.join(', ')}`);
  }
  const classes = config.get('architectures');
  if (Array.isArray(classes) && !classes.some((item) => architectures[name].classes.includes(item))) {
    unsupported(`class ${show(classes[0])} of ${modelType}; it must be ${architectures[name].classes.join(' or ')}`);
  }
  return name;
}

/** Settings under which a model of a known architecture computes something that the graph does not. */
function refuseVariants(config: Fields): void {
  const activation = config.get('hidden_act') ?? 'silu';
  if (activation !== 'silu') unsupported(`hidden_act ${show(activation)}; only "silu" is`);
  for (const key of ['attention_bias', 'mlp_bias', 'use_sliding_window']) {
    if (config.get(key) === true) unsupported(`${key} is true in its config.json`);
  }
  // Qwen states a window that it does not use; Mistral's holds unless it is null.
  const window = config.get('sliding_window');
  const context = config.get('max_position_embeddings');
  if (config.get('use_sliding_window') === undefined && typeof window === 'number' && window < Number(context)) {
    unsupported('sliding-window attention');
  }
  if (config.get('quantization_config') !== undefined) unsupported('quantised safetensors (quantization_config)');
}

/** transformers 5 writes rope_parameters, with the theta in it; earlier ones rope_scaling beside rope_theta. */
function ropeFields(json: Readonly<Record<string, unknown>>): Fields {
  const rope = json.rope_parameters ?? json.rope_scaling ?? {};
  return fields("config.json's rope parameters", own(rope as Readonly<Record<string, unknown>>));
}

function ropeScaling(rope: Fields): RopeScaling | null {
  const kind = rope.get('rope_type') ?? rope.get('type') ?? 'default';
  if (kind === 'default') return null;
  if (kind === 'linear') return { kind, factor: rope.positive('factor') };
  if (kind !== 'llama3') unsupported(`rope scaling ${show(kind)}; "linear" and "llama3" are`);
  return {
    kind,
    factor: rope.positive('factor'),
    lowFreqFactor: rope.positive('low_freq_factor'),
    highFreqFactor: rope.positive('high_freq_factor'),
    originalContext: rope.count('original_max_position_embeddings', limits.modelContext),
  };
}

/** Own properties only, so that a key like "constructor" is absent; null counts as absent. */
const own = (json: Readonly<Record<string, unknown>>) => (key: string) =>
  Object.hasOwn(json, key) ? (json[key] ?? undefined) : undefined;
