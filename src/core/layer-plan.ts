// A model as data: what each layer computes beyond its linears, with the shape's defaults filled in. The decoder's
// graph and training's graph walk this plan, so that a model family is a row of fields and not a condition in the
// graphs.

import type { LayerAttention, ModelShape } from './base-model.ts';

export type LayerPlan = LayerAttention & {
  /** Factor on the products of queries and keys. */
  readonly scale: number;
  /** Cap on those products; 0: none. */
  readonly softcap: number;
  readonly activation: 'silu' | 'gelu';
  readonly outputNorms: boolean;
};

export type ModelPlan = {
  readonly layers: readonly LayerPlan[];
  /** Factor on token embeddings; 1: none. */
  readonly embeddingScale: number;
  /** Factor on vectors that are given in the place of token embeddings. */
  readonly givenScale: number;
  /** Epsilon of the norms over the residual. */
  readonly epsilon: number;
  /** Factor on the last norm's weights, in which logits are linear. */
  readonly lastNormScale: number;
  /** Cap on logits; 0: none. */
  readonly logitsSoftcap: number;
};

/**
 * Fills in the defaults of a shape. A residual scale s needs no operator: with x' = x / s the layers add their outputs
 * unscaled to embeddings / s, and norm(x) = norm(x') where epsilon is divided by s².
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

/**
 * Default context in tokens. longrope computes short texts differently where longer ones may come, so its default is
 * the original context.
 */
export const defaultContext = ({ context, ropeScaling }: ModelShape): number =>
  ropeScaling?.kind === 'longrope' ? Math.min(context, ropeScaling.originalContext) : context;

/**
 * Names in words what the device cannot compute of such a model; null where it can compute all. Attention on devices
 * needs rotary pairs in multiples of eight, and ONNX Runtime's attention for WebGPU has no soft caps.
 * @param device as it is configured (core/device.ts)
 */
export function notOn(device: string, { ropeDims, attentionSoftcap }: ModelShape): string | null {
  if (device === 'cpu') return null;
  if (attentionSoftcap && device === 'webgpu') return 'soft caps of attention';
  if (ropeDims === undefined || ropeDims % 16 === 0) return null;
  return `rotary positions on ${ropeDims} numbers of each head, which is no multiple of 16`;
}
