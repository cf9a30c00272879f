// Rotary position tables (RoFormer, arXiv 2104.09864); llama3's rule is transformers' `_compute_llama3_parameters`.

import type { ModelShape } from '../core/base-model.ts';

export type RopeTables = {
  readonly cos: Float32Array<ArrayBuffer>;
  readonly sin: Float32Array<ArrayBuffer>;
};

/** cos and sin of position * frequency: each [positions, headDim / 2]. */
export function ropeTables(shape: ModelShape, positions: number): RopeTables {
  const half = shape.headDim / 2;
  const frequencies = Float64Array.from({ length: half }, (_, i) =>
    scaled(shape, shape.ropeTheta ** ((-2 * i) / shape.headDim)),
  );
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      cos[position * half + i] = Math.cos(position * frequencies[i]!);
      sin[position * half + i] = Math.sin(position * frequencies[i]!);
    }
  }
  return { cos, sin };
}

function scaled({ ropeScaling }: ModelShape, frequency: number): number {
  if (ropeScaling === null) return frequency;
  if (ropeScaling.kind === 'linear') return frequency / ropeScaling.factor;
  const { factor, lowFreqFactor, highFreqFactor, originalContext } = ropeScaling;
  const turns = (originalContext * frequency) / (2 * Math.PI);
  if (turns < lowFreqFactor) return frequency / factor;
  if (turns > highFreqFactor) return frequency;
  const smooth = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - smooth) * (frequency / factor) + smooth * frequency;
}
