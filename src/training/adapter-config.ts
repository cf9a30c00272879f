// adapter_config.json of what is trained: the fields that every version of PEFT since 0.10 knows, with the values that
// PEFT itself writes. Newer fields would only repeat their defaults, and older versions refuse what they do not know.

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

/** What says where an adapter's pairs stand, of which rank and scaling they are. */
const kept = [
  ...['r', 'lora_alpha', 'rank_pattern', 'alpha_pattern', 'use_rslora'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern'],
];

/** The config of an adapter that was trained on: pairs as they were, everything else plain. */
export function continuedConfig(original: AdapterConfig, settings: Hyperparameters, baseModel: string): AdapterConfig {
  // What PEFT assumes where a config says nothing.
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

/** A hub's name where the model came from one, so that PEFT can find it; otherwise what it is called here. */
export function baseModelName({ name, source }: { readonly name: string; readonly source: string }): string {
  return /^hub:([^@]+)/.exec(source)?.[1] ?? name;
}
