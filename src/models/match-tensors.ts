// Holds the tensors that a file has against those that its shape demands.

import type { ModelShape, RawTensor } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { type TensorSpec, tensorSpecs } from './tensor-specs.ts';

/**
 * The model's tensors in the order of the architecture, those of fused rows apart. Throws where one is missing, has
 * another shape, or nothing asks for it: a weight that is left out silently would be a wrong model.
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

/** Rows of any type lie behind each other, whole. */
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
