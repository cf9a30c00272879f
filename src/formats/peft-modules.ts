// Where PEFT puts the pairs: names of modules (`model.layers.3.self_attn.q_proj`, `lm_head`) and of their tensors.
// Knows no config.

import { type TargetModule, targetModules } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import { invalidAdapter, unsupportedAdapter } from './refuse-adapter.ts';

/** `layer` is null for lm_head. */
export type PeftModule = { readonly layer: number | null; readonly module: TargetModule };

export type PartName = 'loraA' | 'loraB' | 'magnitude';

const blockOf = (module: TargetModule) => (/^(gate|up|down)_/.test(module) ? 'mlp' : 'self_attn');

export const moduleName = ({ layer, module }: PeftModule): string =>
  layer === null ? module : `model.layers.${layer}.${blockOf(module)}.${module}`;

/** Every linear of a base model by its name: by layer, within a layer in the order of `targetModules`, lm_head last. */
export function modulesByName(shape: ModelShape): ReadonlyMap<string, PeftModule> {
  const inLayers = targetModules.filter((module) => module !== 'lm_head');
  const modules: PeftModule[] = Array.from({ length: shape.layers }, (_, layer) =>
    inLayers.map((module) => ({ layer, module })),
  ).flat();
  modules.push({ layer: null, module: 'lm_head' });
  return new Map(modules.map((module) => [moduleName(module), module]));
}

const prefix = 'base_model.model.';

/** As saved, which is without the adapter's name. */
export function tensorName(module: string, part: PartName): string {
  if (part === 'magnitude') return `${prefix}${module}.lora_magnitude_vector`;
  return `${prefix}${module}.lora_${part === 'loraA' ? 'A' : 'B'}.weight`;
}

/**
 * A tensor's module and part, in the saved spelling or with the adapter's name as in memory (`lora_A.default.weight`).
 * Refuses every other name.
 */
export function parseTensorName(name: string): { readonly module: string; readonly part: PartName } {
  const [, module, letter] =
    /^base_model\.model\.(.+)\.lora_(?:([AB])(?:\.default)?\.weight|magnitude_vector(?:\.default)?(?:\.weight)?)$/.exec(
      name,
    ) ?? [];
  if (module === undefined) return refuseName(name);
  return { module, part: letter === 'A' ? 'loraA' : letter === 'B' ? 'loraB' : 'magnitude' };
}

function refuseName(name: string): never {
  if (/\.lora_embedding_[AB](\.default)?$/.test(name)) unsupportedAdapter(name, 'adapts an embedding');
  if (/\.lora_[AB](\.default)?\.bias$/.test(name)) unsupportedAdapter(name, 'is a bias of a pair (lora_bias)');
  // PEFT writes these beside pairs of lm_head; whether they still are the base model's nobody can tell from here.
  if (/\.(embed_tokens|lm_head)(\.base_layer)?\.weight$/.test(name)) {
    unsupportedAdapter(name, "is a copy of the base model's weights; save with save_embedding_layers=False");
  }
  return invalidAdapter(name, 'is no tensor of a LoRA adapter');
}
