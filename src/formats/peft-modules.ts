// PEFT's names of modules (`model.layers.3.self_attn.q_proj`, `lm_head`) and of their tensors. Knows no config.

import { type FusedModule, peftModuleOf, type TargetModule, targetModules } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';

/** `layer` is null for lm_head. */
export type PeftModule = { readonly layer: number | null; readonly module: TargetModule };

/** Parts of a linear's pair, parts of the embedding's pair, and rows of either for single tokens. */
export type PartName = 'loraA' | 'loraB' | 'magnitude' | 'embeddingA' | 'embeddingB' | 'tokens';

/** Name of the embedding. It is no linear of this program: peft-embedding.ts reads its adapters. */
export const embeddingModule = 'model.embed_tokens';

/** A module as PEFT sees it. In families with fused rows some modules are several linears. */
export type NamedModule = { readonly layer: number | null; readonly module: TargetModule | FusedModule };

const blockOf = (module: NamedModule['module']) => (/^(gate|up|down)_/.test(module) ? 'mlp' : 'self_attn');

export const moduleName = ({ layer, module }: NamedModule): string =>
  layer === null ? module : `model.layers.${layer}.${blockOf(module)}.${module}`;

/**
 * Lists every module of a base model by name, with its linears: one, or several where rows are fused. Ordered by layer,
 * within a layer as `targetModules`, lm_head last.
 */
export function modulesByName(shape: ModelShape): ReadonlyMap<string, readonly PeftModule[]> {
  const inLayers = targetModules.filter((module) => module !== 'lm_head');
  const byName = new Map<string, PeftModule[]>();
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const module of inLayers) {
      const name = moduleName({ layer, module: peftModuleOf(shape, module) });
      byName.set(name, [...(byName.get(name) ?? []), { layer, module }]);
    }
  }
  return byName.set('lm_head', [{ layer: null, module: 'lm_head' }]);
}

const prefix = 'base_model.model.';

const endings: Readonly<Record<PartName, string>> = {
  loraA: 'lora_A.weight',
  loraB: 'lora_B.weight',
  magnitude: 'lora_magnitude_vector',
  embeddingA: 'lora_embedding_A',
  embeddingB: 'lora_embedding_B',
  tokens: 'token_adapter.trainable_tokens_delta',
};

/** Name of a tensor as PEFT saves it, without the adapter's name. */
export const tensorName = (module: string, part: PartName): string => `${prefix}${module}.${endings[part]}`;
