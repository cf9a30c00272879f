// RMS norm over the last axis, forward and backward.
//
//     y = x * s * weight,  s = 1 / sqrt(mean(x²) + epsilon)
//     dx = s * (h - x * s² * mean(h * x)),  h = dy * weight

import type { GraphBuilder } from './graph-builder.ts';

export type RmsNorm = {
  readonly y: string;
  readonly x: string;
  /** s [..., 1] */
  readonly inverse: string;
  readonly weight: string;
};

export function rmsNorm(g: GraphBuilder, x: string, weight: string, epsilon: number): RmsNorm {
  const attributes = { axis: -1, epsilon: { float: epsilon } };
  const [y, inverse] = g.ops('SimplifiedLayerNormalization', [x, weight], attributes, [null, null]) as [string, string];
  return { y, x, inverse, weight };
}

export function backRmsNorm(g: GraphBuilder, { x, inverse, weight }: RmsNorm, dy: string): string {
  const h = g.op('Mul', [dy, weight]);
  const mean = g.op('ReduceMean', [g.op('Mul', [h, x]), g.integers('last', [-1])], { keepdims: 1 });
  const share = g.op('Mul', [mean, g.op('Mul', [inverse, inverse])]);
  return g.op('Mul', [inverse, g.op('Sub', [h, g.op('Mul', [x, share])])]);
}
