// What graphs are for where a runtime computes: their floats, and how keys and values lie.

import type { ModelShape } from '../../core/base-model.ts';
import { kvBlock } from '../../core/page-sizes.ts';
import { type BlockForm, type GraphTarget, hostTarget, type Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';

/**
 * Blocks as an operator likes them. ONNX Runtime's reads them by its FlashAttention where a tile of that, whose length
 * the heads' decides, lies in one block; else it copies all that prompts read out of them first.
 */
export function blockForm(operator: BlockForm['operator'], { headDim }: Pick<ModelShape, 'headDim'>): BlockForm {
  if (operator === 'own') return { length: kvBlock, operator };
  return { length: headDim <= 64 ? 256 : headDim <= 128 ? 128 : 64, operator };
}

/** @param real the floats that suit the device, by default */
export function targetOf({ device }: Pick<Runtime, 'device'>, shape: ModelShape, real?: Real): GraphTarget {
  if (device === null) return hostTarget;
  return {
    ...{ on: 'device', real: real ?? device.real, hasOperators: device.hasOperators },
    ...(device.blocks ? { blocks: blockForm(device.blocks, shape) } : {}),
  };
}
