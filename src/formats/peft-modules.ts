// Where PEFT puts the pairs: names of modules (`model.layers.3.self_attn.q_proj`, `lm_head`) and of their tensors.
// Knows no config.

import { type TargetModule, targetModules } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';

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
