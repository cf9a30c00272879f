// adapter_config.json of a trained adapter: the fields that every version of PEFT since 0.10 knows, with the values
// that PEFT itself writes. Newer fields would only repeat their defaults, and older versions refuse fields that they do
// not know.

import { peftModuleOf } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import type { Hyperparameters } from '../protocol/training-messages.ts';

export type AdapterConfig = Readonly<Record<string, unknown>>;

const plain: AdapterConfig = {
  auto_mapping: null,
  bias: 'none',
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  peft_type: 'LORA',
  revision: null,
  task_type: 'CAUSAL_LM',
  use_dora: false,
};

/** @param baseModel `base_model_name_or_path` */
export function freshConfig(
  settings: Hyperparameters,
  baseModel: string,
  shape: Pick<ModelShape, 'fusedRows'> = {},
): AdapterConfig {
  const modules = settings.targetModules.map((module) => peftModuleOf(shape, module));
  return {
    ...plain,
    base_model_name_or_path: baseModel,
    r: settings.r,
    lora_alpha: settings.loraAlpha,
    lora_dropout: settings.loraDropout,
    target_modules: [...new Set(modules)],
    rank_pattern: settings.rankPattern,
    alpha_pattern: {},
    use_rslora: settings.useRslora,
  };
}

/** Fields that determine where an adapter's pairs are, and their ranks and scalings. */
const kept = [
  ...['r', 'lora_alpha', 'rank_pattern', 'alpha_pattern', 'use_rslora'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern'],
];

/** The config of an adapter that was trained further: its pairs as they were, everything else with plain values. */
export function continuedConfig(original: AdapterConfig, settings: Hyperparameters, baseModel: string): AdapterConfig {
  // PEFT's defaults for fields that a config leaves out.
  const assumed = { r: 8, lora_alpha: 8, rank_pattern: {}, alpha_pattern: {}, use_rslora: false };
  const own = Object.entries(original).filter(([field]) => kept.includes(field));
  return {
    ...plain,
    ...assumed,
    ...Object.fromEntries(own),
    base_model_name_or_path: baseModel,
    lora_dropout: settings.loraDropout,
  };
}

/** The hub's name where the model came from a hub, so that PEFT can find it; otherwise its local name. */
export function baseModelName({ name, source }: { readonly name: string; readonly source: string }): string {
  return /^hub:([^@]+)/.exec(source)?.[1] ?? name;
}
