// An adapter as the trainer writes it -> as it is kept here: float16, half the bytes of what answers the same, and the
// base model under its public name, by which PEFT finds it.

import { pairValues } from '../src/formats/adapter-values.ts';
import { encodeFloats } from '../src/formats/encode-floats.ts';
import { parseSafetensorsHeader } from '../src/formats/safetensors.ts';
import { writeSafetensors } from '../src/formats/write-safetensors.ts';

type Files = { readonly config: Uint8Array; readonly weights: Uint8Array };

const base = 'HuggingFaceTB/SmolLM2-135M-Instruct';

export function halved({ config, weights }: Files): Files {
  const fields = { ...JSON.parse(new TextDecoder().decode(config)), base_model_name_or_path: base };
  const { tensors } = parseSafetensorsHeader(weights, weights.length)!;
  const halves = tensors.map((tensor) => {
    const values = pairValues(tensor, weights.subarray(tensor.offset, tensor.offset + tensor.bytes));
    const { name, shape } = tensor;
    return { name, shape, type: 'F16', bytes: encodeFloats('F16', Float64Array.from(values)) } as const;
  });
  return {
    config: new TextEncoder().encode(`${JSON.stringify(fields, null, 2)}\n`),
    weights: writeSafetensors(halves, { format: 'pt' }),
  };
}
