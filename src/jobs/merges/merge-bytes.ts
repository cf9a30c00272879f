// Estimates the bytes of a merge for the policy, before the merge is made; the engine's own count decides. Only touched
// linears are copied, and linears that the engine joins are copied together.

import { linearSize, type TargetModule } from '../../core/adapter.ts';
import type { ModelShape } from '../../core/base-model.ts';

/** Linears that share their input and that the engine joins into one. */
const joined: readonly (readonly TargetModule[])[] = [
  ['q_proj', 'k_proj', 'v_proj'],
  ['o_proj'],
  ['gate_proj', 'up_proj'],
  ['down_proj'],
];
/** Bits per weight for a float scale and a float minimum of each block of 32 weights. */
const blockBits = 64 / 32;
/** Copies of each weight: the weights, and the forms that the kernels of both phases read. */
const copies = 3;

export function expectedMergeBytes(shape: ModelShape, bits: number, modules: readonly string[]): number {
  const bytesOf = (module: TargetModule) => {
    const { in: inputs, out: outputs } = linearSize(shape, module);
    return copies * inputs * outputs * ((bits + (bits < 32 ? blockBits : 0)) / 8);
  };
  const touched = joined.filter((linears) => linears.some((module) => modules.includes(module))).flat();
  const ofLayers = shape.layers * touched.reduce((sum, module) => sum + bytesOf(module), 0);
  return Math.ceil(ofLayers + (modules.includes('lm_head') ? bytesOf('lm_head') : 0));
}
