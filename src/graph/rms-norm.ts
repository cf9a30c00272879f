// RMS norm over the last axis, forward and backward.
//
//     y = x * s * weight,  s = 1 / sqrt(mean(x²) + epsilon)
//     dx = s * (h - x * s² * mean(h * x)),  h = dy * weight

import type { TrainingBuilder } from './training-builder.ts';

export type RmsNorm = {
  readonly y: string;
  readonly x: string;
  readonly weight: string;
  readonly epsilon: number;
  /** s [..., 1]; null on a device: WebGPU's operator has this output and writes nothing to it. */
  readonly inverse: string | null;
};

export function rmsNorm({ g, on }: TrainingBuilder, x: string, weight: string, epsilon: number): RmsNorm {
  const attributes = { axis: -1, epsilon: { float: epsilon } };
  const outputs = on === 'host' ? [null, null] : [null];
  const [y, inverse = null] = g.ops('SimplifiedLayerNormalization', [x, weight], attributes, outputs);
  return { y: y!, x, weight, epsilon, inverse };
}

export function backRmsNorm({ g }: TrainingBuilder, norm: RmsNorm, dy: string): string {
  const { x, weight } = norm;
  const inverse = norm.inverse ?? inverseOf(g, norm);
  const h = g.op('Mul', [dy, weight]);
  const mean = meanOf(g, g.op('Mul', [h, x]));
  const share = g.op('Mul', [mean, g.op('Mul', [inverse, inverse])]);
  return g.op('Mul', [inverse, g.op('Sub', [h, g.op('Mul', [x, share])])]);
}

function inverseOf(g: TrainingBuilder['g'], { x, epsilon }: RmsNorm): string {
  const squares = g.op('Add', [meanOf(g, g.op('Mul', [x, x])), g.float('epsilon', epsilon)]);
  return g.op('Reciprocal', [g.op('Sqrt', [squares])]);
}

const meanOf = (g: TrainingBuilder['g'], x: string): string =>
  g.op('ReduceMean', [x, g.integers('last', [-1])], { keepdims: 1 });
