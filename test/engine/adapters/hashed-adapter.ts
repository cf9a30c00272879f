// An adapter whose values are hashes of their index, as fixtures/make-gradients.py fills PEFT's, so that no file has to
// hold them.

import { type AdapterFiles, linearSize, type TargetModule } from '../../../src/core/adapter.ts';
import type { ModelShape } from '../../../src/core/base-model.ts';
import { writeSafetensors } from '../../../src/formats/write-safetensors.ts';
import { hashedValues } from '../../helpers/hashed-values.ts';
import { writeAdapterFiles } from './random-adapters.ts';

export type HashedAdapter = { readonly r: number; readonly scaling: number; readonly modules: readonly string[] };

/** Linears of a fused module, in the order of its rows. */
const fused: Readonly<Record<string, readonly TargetModule[]>> = {
  qkv_proj: ['q_proj', 'k_proj', 'v_proj'],
  gate_up_proj: ['gate_proj', 'up_proj'],
};

/** The adapter's files as PEFT would save them. */
export function hashedAdapter(shape: ModelShape, { r, scaling, modules }: HashedAdapter): AdapterFiles {
  let salt = 0;
  const tensor = (name: string, size: readonly [number, number]) => {
    const values = hashedValues(size[0] * size[1], ++salt);
    return { name, type: 'F32' as const, shape: size, bytes: new Uint8Array(values.buffer) };
  };
  const tensors = Array.from({ length: shape.layers }, (_, layer) =>
    modules.flatMap((module) => {
      const sizes = (fused[module] ?? [module as TargetModule]).map((linear) => linearSize(shape, linear));
      const block = /^(gate|down|up)/.test(module) ? 'mlp' : 'self_attn';
      const name = `base_model.model.model.layers.${layer}.${block}.${module}.lora_`;
      const out = sizes.reduce((sum, size) => sum + size.out, 0);
      return [tensor(`${name}A.weight`, [r, sizes[0]!.in]), tensor(`${name}B.weight`, [out, r])];
    }),
  ).flat();
  const fields = { peft_type: 'LORA', task_type: 'CAUSAL_LM', r, lora_alpha: scaling * r, target_modules: modules };
  return writeAdapterFiles(Buffer.from(JSON.stringify(fields)), writeSafetensors(tensors));
}
