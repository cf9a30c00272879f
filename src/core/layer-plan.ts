// A model as data: what each layer computes beyond its linears, with everything that a shape leaves out filled in. The
// decoder's graph and training's walk it, so that a family is a row of fields and no condition of its own there.

import type { LayerAttention, ModelShape } from './base-model.ts';

export type LayerPlan = LayerAttention & {
  /** Multiplies the products of queries and keys. */
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
  readonly activation: 'silu' | 'gelu';
  readonly outputNorms: boolean;
};

export type ModelPlan = {
  readonly layers: readonly LayerPlan[];
  /** Multiplies embeddings; 1: nothing to do. */
  readonly embeddingScale: number;
  /** The same of embeddings that are given in the place of tokens'. */
  readonly givenScale: number;
  /** Of norms over the residual. */
  readonly epsilon: number;
  /** Of the last norm's weights: logits are linear in them. */
  readonly lastNormScale: number;
  /** 0: none. */
  readonly logitsSoftcap: number;
};

/**
 * A residual scale s costs nothing: with x' = x / s the layers add their outputs as they are to embeddings / s, and
 * norm(x) = norm(x') where epsilon is divided by s².
 */
export function modelPlan(shape: ModelShape): ModelPlan {
  const { residualScale = 1, embeddingScale = 1, logitsScale = 1, logitsSoftcap = 0, outputNorms = false } = shape;
  const { attentionScale = shape.headDim ** -0.5, attentionSoftcap: softcap = 0, activation = 'silu' } = shape;
  return {
    layers: Array.from({ length: shape.layers }, (_, layer) => ({
      ...(shape.attention?.[layer] ?? { window: null, rope: 'global' }),
      ...{ scale: attentionScale, softcap, activation, outputNorms },
    })),
    embeddingScale: embeddingScale / residualScale,
    givenScale: (shape.scaledTable ? 1 : embeddingScale) / residualScale,
    epsilon: shape.rmsNormEps / residualScale ** 2,
    lastNormScale: logitsScale,
    logitsSoftcap,
  };
}

/** Tokens of a context that nobody chose: longrope computes short texts otherwise where longer ones may come. */
export const usualContext = ({ context, ropeScaling }: ModelShape): number =>
  ropeScaling?.kind === 'longrope' ? Math.min(context, ropeScaling.originalContext) : context;

/**
 * What a device does not compute of such a model, in words; null where nothing is missing. Attention on devices turns
 * pairs by eights, and ONNX Runtime's for WebGPU leaves soft caps out.
 * @param device as it is configured (core/device.ts)
 */
export function notOn(device: string, { ropeDims, attentionSoftcap }: ModelShape): string | null {
  if (device === 'cpu') return null;
  if (attentionSoftcap && device === 'webgpu') return 'soft caps of attention';
  if (ropeDims === undefined || ropeDims % 16 === 0) return null;
  return `rotary positions on ${ropeDims} numbers of each head, which is no multiple of 16`;
}
