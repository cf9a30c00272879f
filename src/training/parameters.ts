// All trained parameters in one flat array: for each target A [r, in], then B [out, r]. Optimiser state and gradients
// have the same layout, so that every pass over parameters is one loop.

import { type LinearSize, linearSize } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import { type TrainTarget, targetParameters } from '../graph/training-form.ts';

export type PairView = {
  readonly target: TrainTarget;
  readonly size: LinearSize;
  /** [r, in] */
  readonly a: Float32Array<ArrayBuffer>;
  /** [out, r] */
  readonly b: Float32Array<ArrayBuffer>;
};

export const parameterCount = (shape: ModelShape, targets: readonly TrainTarget[]): number =>
  targets.reduce((sum, target) => {
    const { a, b } = targetParameters(target, linearSize(shape, target.module));
    return sum + a + b;
  }, 0);

/** Views on `flat`, in the order of `targets`. */
export function pairViews(
  flat: Float32Array<ArrayBuffer>,
  shape: ModelShape,
  targets: readonly TrainTarget[],
): PairView[] {
  let offset = 0;
  return targets.map((target) => {
    const size = linearSize(shape, target.module);
    const count = targetParameters(target, size);
    const middle = offset + count.a;
    const a = flat.subarray(offset, middle);
    offset = middle + count.b;
    return { target, size, a, b: flat.subarray(middle, offset) };
  });
}
