// Compares the tensors of a file with those that its shape requires.

import type { ModelShape, RawTensor } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { type TensorSpec, tensorSpecs } from './tensor-specs.ts';

/**
 * Gives the model's tensors in the order of the architecture, with fused rows separated. Throws where a tensor is
 * missing, has another shape, or is not needed: silently ignoring a weight would give a wrong model.
 */
export function matchTensors(
  shape: ModelShape,
  found: ReadonlyMap<string, RawTensor>,
  nameInFile: (spec: TensorSpec) => string,
  adapt: (tensor: RawTensor, spec: TensorSpec) => RawTensor = (tensor) => tensor,
): Map<string, RawTensor> {
  const matched = new Map<string, RawTensor>();
  const unused = new Set(found.keys());
  for (const spec of tensorSpecs(shape)) {
    const name = nameInFile(spec);
    const tensor = found.get(name);
    if (tensor === undefined) invalid(`tensor ${name} is missing`);
    if (tensor.shape.join() !== spec.shape.join()) {
      invalid(`tensor ${name} has shape [${tensor.shape.join(', ')}], expected [${spec.shape.join(', ')}]`);
    }
    unused.delete(name);
    for (const part of partsOf(adapt({ ...tensor, name: spec.name }, spec), spec)) matched.set(part.name, part);
  }
  if (unused.size > 0) {
    const names = [...unused].slice(0, 5).map((name) => JSON.stringify(name));
    const more = unused.size > names.length ? ` and ${unused.size - names.length} more` : '';
    invalid(`a ${shape.architecture} model has no use for ${names.join(', ')}${more}`);
  }
  return matched;
}

/** Splits fused rows. Rows of any type are contiguous, so each part is a range of bytes. */
function partsOf(tensor: RawTensor, { parts }: TensorSpec): RawTensor[] {
  if (parts.length === 1) return [tensor];
  const [out, ...width] = tensor.shape as [number, ...number[]];
  let first = 0;
  return parts.map(({ name, rows }) => {
    const from = first;
    first += rows;
    const bytes = () => {
      const whole = tensor.bytes();
      return whole.subarray((from / out) * whole.length, ((from + rows) / out) * whole.length);
    };
    return { ...tensor, name, shape: [rows, ...width], bytes };
  });
}

function invalid(reason: string): never {
  throw new LorikeetError('model_file_invalid', { message: `The weights do not fit the model: ${reason}.` });
}
