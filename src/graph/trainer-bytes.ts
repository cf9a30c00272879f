// The memory that a trainer takes on a device, for whoever shares it.

import type { TrainingPrecision } from '../core/training-precision.ts';
import { isFloats, type LinearForm, type LoweredModel } from './lowered.ts';
import { blockSize } from './quantized.ts';
import { realBytes } from './target.ts';

/**
 * A micro-batch of a model of 8 billion parameters: 4.4 and 2.5 GB of activations wait for the way back, and what one
 * layer works with comes on top. Rounded products keep what they read and gave in half of the bytes.
 */
const activationBytes: Readonly<Record<TrainingPrecision, number>> = { float32: 6 * 2 ** 30, bfloat16: 4 * 2 ** 30 };

export const deviceTrainerBytes = (model: LoweredModel, precision: TrainingPrecision): number =>
  trainerWeightBytes(model, precision) + activationBytes[precision];

/** The weights of a training graph on a device. */
export function trainerWeightBytes({ linears, weights }: LoweredModel, precision: TrainingPrecision): number {
  const real = realBytes[precision];
  const ofLinears = [...linears.values()].reduce((sum, form) => sum + linearBytes(form, real), 0);
  const embedding = weights.get('embedding')?.data.length ?? 0;
  return ofLinears + embedding * real;
}

/** Bytes of a linear as floats, or as codes with their scales and minimums. */
function linearBytes({ bits, n, k, corrected }: LinearForm, real: number): number {
  if (isFloats(bits)) return n * k * real;
  return (n * k * bits) / 8 + ((n * k) / blockSize) * (corrected ? 2 : 1) * real;
}
