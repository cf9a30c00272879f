// What the products of matrices in a training graph are computed with. Everything beside them is float32 in any case.

import { kindOf } from './device.ts';

/**
 * `float32`: exact to the last bits. `bfloat16`: operands and results have 8 bits of precision, sums are float32; many
 * times as fast where a card has matrix units for it.
 */
export const trainingPrecisions = ['float32', 'bfloat16'] as const;
export type TrainingPrecision = (typeof trainingPrecisions)[number];

/** Why a device does not train so, as the end of a sentence; null where it does. */
export function precisionRefusal(device: string, precision: TrainingPrecision): string | null {
  if (precision === 'float32') return null;
  const kind = kindOf(device);
  if (kind === 'cpu') return 'the processor trains with float32';
  return kind === 'webgpu' ? 'WebGPU has no bfloat16' : null;
}
