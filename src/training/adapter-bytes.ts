// Converts trained values to PEFT's two files and back.

import type { ModelShape } from '../core/base-model.ts';
import { pairValues } from '../formats/adapter-values.ts';
import { moduleName, tensorName } from '../formats/peft-modules.ts';
import { parseSafetensorsHeader } from '../formats/safetensors.ts';
import { writePeftAdapter } from '../formats/write-peft.ts';
import type { AdapterConfig } from './adapter-config.ts';
import type { AdapterBytes } from './checkpoint.ts';
import { pairViews } from './parameters.ts';
import type { StartingPoint } from './starting-point.ts';

type Described = { readonly config: AdapterConfig; readonly targets: StartingPoint['targets'] };

/** The same values always give the same bytes. */
export function encodeAdapter(
  values: Float32Array<ArrayBuffer>,
  { config, targets }: Described,
  shape: ModelShape,
): AdapterBytes {
  const pairs = pairViews(values, shape, targets).map(({ target: { layer, module, r }, a, b }) => ({
    ...{ layer, module, r },
    ...{ loraA: a, loraB: b },
  }));
  return writePeftAdapter(config, pairs);
}

/** Reads into `values` what `encodeAdapter` wrote. */
export function decodeAdapter(
  { weights }: AdapterBytes,
  values: Float32Array<ArrayBuffer>,
  targets: StartingPoint['targets'],
  shape: ModelShape,
): void {
  const { tensors } = parseSafetensorsHeader(weights, weights.length)!;
  const read = (name: string) => {
    const tensor = tensors.find((other) => other.name === name)!;
    return pairValues(tensor, weights.subarray(tensor.offset, tensor.offset + tensor.bytes));
  };
  for (const { target, a, b } of pairViews(values, shape, targets)) {
    a.set(read(tensorName(moduleName(target), 'loraA')));
    b.set(read(tensorName(moduleName(target), 'loraB')));
  }
}
