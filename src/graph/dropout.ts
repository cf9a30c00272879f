// Dropout with masks as an input, so that a step that is done again drops the same values. One vector serves all
// targets. Each reads it from a place of its own, so that no two see the same mask over the same inputs.

import { linearSize } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import type { TrainTarget } from './training-form.ts';

/** Floats between the places where two targets start; odd, so that the starts do not align with rows. */
const stride = 4099;

/** Where target `index` of the form starts in the vector. */
export const dropoutStart = (index: number): number => index * stride;

/** Floats that a batch of `rows` rows needs. */
export function dropoutLength(shape: ModelShape, targets: readonly TrainTarget[], rows: number): number {
  const widths = targets.map(({ module }) => linearSize(shape, module).in);
  return rows * Math.max(...widths) + dropoutStart(targets.length - 1);
}

/** Fills `mask` with 0, at probability `p`, and 1 / (1 - p). `random` is uniform in [0, 1). */
export function fillDropout(mask: Float32Array, p: number, random: () => number): void {
  const kept = 1 / (1 - p);
  for (let i = 0; i < mask.length; i++) mask[i] = random() < p ? 0 : kept;
}
