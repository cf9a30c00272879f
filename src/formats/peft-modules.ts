// Where PEFT puts the pairs: names of modules (`model.layers.3.self_attn.q_proj`, `lm_head`) and of their tensors.
// Knows no config.

import { type FusedModule, peftModuleOf, type TargetModule, targetModules } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';

/** `layer` is null for lm_head. */
export type PeftModule = { readonly layer: number | null; readonly module: TargetModule };

/** Of a linear; of the embedding; and rows of either for single tokens. */
export type PartName = 'loraA' | 'loraB' | 'magnitude' | 'embeddingA' | 'embeddingB' | 'tokens';

/** The embedding is no linear of ours: what an adapter has for it is read by peft-embedding.ts. */
export const embeddingModule = 'model.embed_tokens';

/** As PEFT sees modules, of which some are several linears in families with fused rows. */
export type NamedModule = { readonly layer: number | null; readonly module: TargetModule | FusedModule };

const blockOf = (module: NamedModule['module']) => (/^(gate|up|down)_/.test(module) ? 'mlp' : 'self_attn');

export const moduleName = ({ layer, module }: NamedModule): string =>
  layer === null ? module : `model.layers.${layer}.${blockOf(module)}.${module}`;

/**
 * Every module of a base model by its name, and the linears that it is, one but for fused rows: by layer, within a
 * layer in the order of `targetModules`, lm_head last.
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

/** As saved, which is without the adapter's name. */
export const tensorName = (module: string, part: PartName): string => `${prefix}${module}.${endings[part]}`;
