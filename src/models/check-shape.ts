// Checks that every shape must pass, wherever it was read from, before anything is computed with it.

import type { ModelShape } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';

/** Returns the shape. Throws `model_file_invalid` where its numbers contradict each other. */
export function checkShape(shape: ModelShape): ModelShape {
  if (shape.heads % shape.kvHeads !== 0) invalid(`${shape.heads} heads cannot share ${shape.kvHeads} key-value heads`);
  if (shape.headDim % 2 !== 0)
    invalid(`the head dimension ${shape.headDim} is odd, which rotary positions do not allow`);
  const scaling = shape.ropeScaling;
  if (scaling?.kind === 'longrope') {
    const pairs = (shape.ropeDims ?? shape.headDim) / 2;
    const lengths = [scaling.shortFactors.length, scaling.longFactors.length];
    if (lengths.some((length) => length !== pairs))
      invalid(`${lengths.join(' and ')} factors for ${pairs} rotary pairs`);
  }
  return shape;
}

function invalid(reason: string): never {
  throw new LorikeetError('model_file_invalid', { message: `Invalid model shape: ${reason}.` });
}
