// The form of graphs for the place where a runtime computes: float type, and how the KV cache lies.

import type { ModelShape } from '../../core/base-model.ts';
import { kvBlock } from '../../core/page-sizes.ts';
import { type BlockForm, type GraphTarget, hostTarget, type Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';

/**
 * Form of blocks that suits an operator. ONNX Runtime's reads blocks in place by FlashAttention where one tile, whose
 * length depends on the head's width, lies in one block; otherwise it first copies all that prompts read.
 */
export function blockForm(operator: BlockForm['operator'], { headDim }: Pick<ModelShape, 'headDim'>): BlockForm {
  if (operator === 'own') return { length: kvBlock, operator };
  return { length: headDim <= 64 ? 256 : headDim <= 128 ? 128 : 64, operator };
}

/** @param real float type; the device's own by default */
export function targetOf({ device }: Pick<Runtime, 'device'>, shape: ModelShape, real?: Real): GraphTarget {
  if (device === null) return hostTarget;
  return {
    ...{ on: 'device', real: real ?? device.real, hasOperators: device.hasOperators },
    ...(device.blocks ? { blocks: blockForm(device.blocks, shape) } : {}),
  };
}
