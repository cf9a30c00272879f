// Reads an adapter of virtual tokens from PEFT's two files: one tensor, `prompt_embeddings`, with a row for each token
// that stands before the text. In prompt tuning and p-tuning a row is an embedding. In prefix tuning it is the token's
// keys and values of every layer, layers * 2 * kvHeads * headDim, with keys as they are after rotary positions. PEFT
// saves the outputs of an encoder (p-tuning) or projection (prefix tuning), so these themselves are not in the file.
// Reads headers only.

import type { ModelShape } from '../core/base-model.ts';
import { kvTokenElements } from '../core/page-sizes.ts';
import { otherBaseWarnings } from './peft-adapter.ts';
import {
  type Config,
  optionalText,
  parseConfigFields,
  refuseOtherTask,
  refuseUnknownFields,
  virtualTypes,
} from './peft-config.ts';
import { invalidAdapter, unsupportedAdapter, weightsFile } from './refuse-adapter.ts';
import type { SafetensorsFile, SafetensorsTensor } from './safetensors.ts';

export type VirtualTokensKind = (typeof virtualTypes)[keyof typeof virtualTypes];

export type PeftVirtualTokens = {
  readonly kind: VirtualTokensKind;
  readonly count: number;
  /** Numbers of one token's row. */
  readonly width: number;
  /** [count, width] */
  readonly tensor: SafetensorsTensor;
  readonly warnings: readonly string[];
};

const tensorName = 'prompt_embeddings';

const compared = ['num_virtual_tokens', 'token_dim', 'num_layers', 'num_attention_heads', 'num_transformer_submodules'];
const known = new Set([
  ...['peft_type', 'task_type', 'base_model_name_or_path', ...compared],
  // Fields that describe how the embeddings were made, which serving does not need.
  ...['prefix_projection', 'init_weights', 'prompt_tuning_init', 'prompt_tuning_init_text'],
  ...['tokenizer_name_or_path', 'tokenizer_kwargs', 'encoder_reparameterization_type', 'encoder_hidden_size'],
  ...['encoder_num_layers', 'encoder_dropout', 'inference_mode', 'peft_version', 'auto_mapping', 'revision'],
]);

/** Reads the adapter; null where it is of another kind. Throws `adapter_invalid`, `adapter_unsupported`. */
export function readVirtualTokens(
  config: Uint8Array,
  { tensors }: SafetensorsFile,
  shape: ModelShape,
  baseName: string | null = null,
): PeftVirtualTokens | null {
  const fields = parseConfigFields(config);
  const type = String(fields.peft_type);
  if (!Object.hasOwn(virtualTypes, type)) return null;
  const kind = virtualTypes[type as keyof typeof virtualTypes];
  refuseOtherTask(fields);
  refuseUnknownFields(fields, (field) => known.has(field));
  const tensor = tensors.find(({ name }) => name === tensorName);
  if (tensor === undefined) return invalidAdapter(weightsFile, `has no ${tensorName}`);
  const other = tensors.find(({ name }) => name !== tensorName);
  if (other !== undefined) invalidAdapter(other.name, `stands beside ${tensorName}, which is all that there may be`);
  if (!['F32', 'F16', 'BF16'].includes(tensor.type)) {
    unsupportedAdapter(tensorName, `is of type ${tensor.type}; F32, F16 and BF16 are read`);
  }
  compareFields(fields, kind, shape);
  const width = kind === 'embeddings' ? shape.hidden : kvTokenElements(shape);
  const asked = fields.num_virtual_tokens;
  const [count] = tensor.shape;
  if (tensor.shape.length !== 2 || !count || tensor.shape[1] !== width || (asked !== undefined && asked !== count)) {
    const need = `the config and the base model need [${asked ?? 'virtual tokens'},${width}]`;
    return invalidAdapter(tensorName, `is [${tensor.shape.slice(0, 4)}]; ${need}`);
  }
  if (count >= shape.context) {
    unsupportedAdapter(tensorName, `has ${count} virtual tokens; the base model's context is ${shape.context}`);
  }
  const warnings = otherBaseWarnings(optionalText(fields, 'base_model_name_or_path'), baseName);
  return { kind, count, width, tensor, warnings };
}

/** Compares fields that describe the base model: another model's rows may have the same width by chance. */
function compareFields(
  fields: Config,
  kind: VirtualTokensKind,
  { layers, hidden, kvHeads, headDim }: ModelShape,
): void {
  const compare = (field: string, needed: number) => {
    if (fields[field] === undefined || fields[field] === needed) return;
    invalidAdapter(field, `is ${JSON.stringify(fields[field]).slice(0, 20)}; the base model needs ${needed}`);
  };
  compare('num_transformer_submodules', 1);
  compare('token_dim', kind === 'embeddings' ? hidden : kvHeads * headDim);
  // Prompt tuning writes these fields too, and does not use them.
  if (kind === 'embeddings') return;
  compare('num_layers', layers);
  compare('num_attention_heads', kvHeads);
}
