// What every shape must satisfy, wherever it was read from, before anything is computed with it.

import type { ModelShape } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { architectures, supportedArchitectures } from './architectures.ts';
import { unsupported } from './fields.ts';

/** Returns the shape; throws where its numbers contradict each other or its architecture cannot be run. */
export function checkShape(shape: ModelShape): ModelShape {
  const { missing } = architectures[shape.architecture];
  if (missing !== null) {
    unsupported(`${shape.architecture} needs ${missing}; supported are ${supportedArchitectures.join(', ')}`);
  }
  if (shape.heads % shape.kvHeads !== 0) invalid(`${shape.heads} heads cannot share ${shape.kvHeads} key-value heads`);
  if (shape.headDim % 2 !== 0)
    invalid(`the head dimension ${shape.headDim} is odd, which rotary positions do not allow`);
  return shape;
}

function invalid(reason: string): never {
  throw new LorikeetError('model_file_invalid', { message: `Invalid model shape: ${reason}.` });
}
