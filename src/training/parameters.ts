// All that is trained in one flat array: of each target A [r, in], then B [out, r]. Optimiser state and gradients have
// the same layout, so that every step over parameters is one loop.

import { type LinearSize, linearSize } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import type { TrainTarget } from '../graph/training-form.ts';

export type PairView = {
  readonly target: TrainTarget;
  readonly size: LinearSize;
  /** [r, in] */
  readonly a: Float32Array<ArrayBuffer>;
  /** [out, r] */
  readonly b: Float32Array<ArrayBuffer>;
};

export const parameterCount = (shape: ModelShape, targets: readonly TrainTarget[]): number =>
  targets.reduce((sum, target) => sum + lengthOf(target, linearSize(shape, target.module)), 0);

const lengthOf = ({ r }: TrainTarget, size: LinearSize) => r * (size.in + size.out);

/** Views on `flat`, in the order of `targets`. */
export function pairViews(
  flat: Float32Array<ArrayBuffer>,
  shape: ModelShape,
  targets: readonly TrainTarget[],
): PairView[] {
  let offset = 0;
  return targets.map((target) => {
    const size = linearSize(shape, target.module);
    const [start, middle] = [offset, offset + target.r * size.in];
    offset += lengthOf(target, size);
    return { target, size, a: flat.subarray(start, middle), b: flat.subarray(middle, offset) };
  });
}
