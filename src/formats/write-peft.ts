// Writes an adapter as PEFT's two files, which PEFT loads without conversion.

import { moduleName, type NamedModule, type PartName, tensorName } from './peft-modules.ts';
import { type TensorToWrite, writeSafetensors } from './write-safetensors.ts';

export type PairToWrite = NamedModule & {
  readonly r: number;
  /** [r, in] */
  readonly loraA: Float32Array;
  /** [out, r] */
  readonly loraB: Float32Array;
  /** [out]; only with DoRA. */
  readonly magnitude?: Float32Array;
};

/**
 * Writes an adapter. `config` has PEFT's fields, which must agree with the pairs' ranks and modules: nothing is derived
 * from the pairs. The same input gives the same bytes.
 */
export function writePeftAdapter(
  config: Readonly<Record<string, unknown>>,
  pairs: readonly PairToWrite[],
): { readonly config: Uint8Array; readonly weights: Uint8Array } {
  return { config: writePeftConfig(config), weights: writeSafetensors(pairs.flatMap(tensorsOf), { format: 'pt' }) };
}

/** Writes adapter_config.json of a LoRA adapter. `config` overrides the fields that all of them have. */
export function writePeftConfig(config: Readonly<Record<string, unknown>>): Uint8Array {
  const fields = { peft_type: 'LORA', task_type: 'CAUSAL_LM', bias: 'none', inference_mode: true, ...config };
  const sorted = Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
  return new TextEncoder().encode(`${JSON.stringify(sorted, null, 2)}\n`);
}

function tensorsOf(pair: PairToWrite): TensorToWrite[] {
  const { r, loraA, loraB, magnitude } = pair;
  const tensor = (part: PartName, values: Float32Array, shape: readonly number[]): TensorToWrite => ({
    name: tensorName(moduleName(pair), part),
    type: 'F32',
    shape,
    bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
  return [
    tensor('loraA', loraA, [r, loraA.length / r]),
    tensor('loraB', loraB, [loraB.length / r, r]),
    ...(magnitude === undefined ? [] : [tensor('magnitude', magnitude, [magnitude.length])]),
  ];
}
