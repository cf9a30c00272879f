// PEFT adapters for a tiny base model: valid, a few hundred bytes, and different for every seed.

import { linearSize } from '../../src/core/adapter.ts';
import { prng } from '../../src/core/prng.ts';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { tinyShape } from '../models/model-folder.ts';

export type TinyAdapter = { readonly config: Uint8Array; readonly weights: Uint8Array };

const r = 2;

/**
 * An adapter with two pairs, on q_proj of both layers. `config` adds or replaces fields, which makes another content.
 */
export function tinyAdapter(seed: number, config: Readonly<Record<string, unknown>> = {}): TinyAdapter {
  const random = prng(seed);
  const size = linearSize(tinyShape, 'q_proj');
  const tensor = (layer: number, part: 'A' | 'B', shape: readonly [number, number]) => ({
    name: `base_model.model.model.layers.${layer}.self_attn.q_proj.lora_${part}.weight`,
    type: 'F32' as const,
    shape,
    bytes: new Uint8Array(Float32Array.from({ length: shape[0] * shape[1] }, () => random() - 0.5).buffer),
  });
  const layers = Array.from({ length: tinyShape.layers }, (_, layer) => layer);
  const fields = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r,
    lora_alpha: 4,
    target_modules: ['q_proj'],
    bias: 'none',
  };
  return {
    config: new TextEncoder().encode(JSON.stringify({ ...fields, ...config })),
    weights: writeSafetensors(
      layers.flatMap((layer) => [tensor(layer, 'A', [r, size.in]), tensor(layer, 'B', [size.out, r])]),
    ),
  };
}
