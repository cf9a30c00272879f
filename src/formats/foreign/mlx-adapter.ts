// Adapters of mlx-lm (adapters.safetensors) in PEFT's terms: y = x W + scale * (x a) b, with a [in, r] and b [r, out].

import type { PartName } from '../peft-modules.ts';
import { parseTensorName } from '../peft-names.ts';
import { invalidAdapter, unsupportedAdapter } from '../refuse-adapter.ts';
import { type SafetensorsFile, type SafetensorsTensor, safetensorsBits } from '../safetensors.ts';
import { type ForeignAdapter, type ForeignTensor, identity, transpose } from './foreign-adapter.ts';

type Config = Readonly<Record<string, unknown>>;

/** Recognises mlx-lm's config, which describes the training and has no `peft_type`. */
export const isMlxConfig = (config: Config): boolean =>
  config.peft_type === undefined && typeof config.lora_parameters === 'object' && config.lora_parameters !== null;

/** Translates an adapter of mlx-lm. Throws `adapter_invalid`, `adapter_unsupported`. */
export function mlxAdapter(config: Config, { tensors }: SafetensorsFile): ForeignAdapter {
  const type = config.fine_tune_type ?? 'lora';
  if (type !== 'lora' && type !== 'dora') unsupportedAdapter('fine_tune_type', 'is neither lora nor dora');
  const { rank, scale } = config.lora_parameters as Config;
  if (!Number.isSafeInteger(rank) || (rank as number) < 1) invalidAdapter('lora_parameters.rank', 'must be whole');
  if (typeof scale !== 'number') invalidAdapter('lora_parameters.scale', 'must be a number');
  const converted = tensors.map(toTensor);
  const modules = new Set(converted.map(({ name }) => moduleOf(name).split('.').at(-1)!));
  const base = typeof config.model === 'string' ? { base_model_name_or_path: config.model } : {};
  const r = rank as number;
  return {
    config: { r, lora_alpha: scale * r, use_dora: type === 'dora', target_modules: [...modules].sort(), ...base },
    tensors: converted,
    warnings: ['Converted from an adapter of mlx-lm.'],
  };
}

const parts: Readonly<Record<string, { part: PartName; peft: string }>> = {
  lora_a: { part: 'loraA', peft: 'lora_A.weight' },
  lora_b: { part: 'loraB', peft: 'lora_B.weight' },
  m: { part: 'magnitude', peft: 'lora_magnitude_vector' },
};

function toTensor({ name, type, shape, offset, bytes }: SafetensorsTensor): ForeignTensor {
  const [, module, suffix] = /^(.+)\.(lora_a|lora_b|m)$/.exec(name) ?? [];
  if (module === undefined) return invalidAdapter(name, 'is no tensor of an adapter of mlx-lm');
  const { part, peft } = parts[suffix!]!;
  const renamed = { name: `base_model.model.${module}.${peft}`, type, offset, bytes };
  if (part === 'magnitude' || shape.length !== 2) return { ...renamed, shape, reorder: identity };
  const [rows, columns] = shape as [number, number];
  return { ...renamed, shape: [columns, rows], reorder: transpose(rows, columns, safetensorsBits[type] / 8) };
}

const moduleOf = (name: string) => parseTensorName(name).module;
