// Names of an adapter's tensors as PEFT and its users write them, told apart: what wraps the model, the adapter's own
// name, which part of a pair it is, and what is no part of a pair. Knows no shapes.

import type { PartName } from './peft-modules.ts';
import { invalidAdapter, unsupportedAdapter } from './refuse-adapter.ts';

export type TensorRole =
  /**
   * Half of a pair, its magnitudes, or rows of tokens. `adapter` is the name inside the tensor's name; PEFT's own is
   * `default`.
   */
  | { readonly kind: 'part'; readonly module: string; readonly part: PartName; readonly adapter: string }
  /** The base model's own weight, frozen, which PEFT saves beside a pair on the head or an embedding. */
  | { readonly kind: 'copy'; readonly module: string };

export type TensorName = TensorRole & {
  /** It begins with `base_model.model.`, as `save_pretrained` writes it; without, as `inject_adapter_in_model` does. */
  readonly hasPrefix: boolean;
};

/** What torch puts between the names of modules: torch.compile, FSDP, activation checkpointing, DDP. */
const wrappers = new Set(['_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', 'module']);

/** By what ends the name; the adapter's name, where there is one, is the second group. */
const parts: readonly (readonly [pattern: RegExp, part: PartName])[] = [
  [/^(.+)\.lora_A(?:\.([^.]+))?\.weight$/, 'loraA'],
  [/^(.+)\.lora_B(?:\.([^.]+))?\.weight$/, 'loraB'],
  [/^(.+)\.lora_magnitude_vector(?:\.(?!weight$)([^.]+))?(?:\.weight)?$/, 'magnitude'],
  [/^(.+)\.lora_embedding_A(?:\.([^.]+))?$/, 'embeddingA'],
  [/^(.+)\.lora_embedding_B(?:\.([^.]+))?$/, 'embeddingB'],
  // Beside LoRA a wrapper holds them, and where LoRA is on the same module that is the wrapped one.
  [/^(.+?)(?:\.base_layer)?(?:\.token_adapter)?\.trainable_tokens_delta(?:\.([^.]+))?$/, 'tokens'],
];
/** Of a quantised base, states of its blocks follow the weight's name. */
const copy = /^(.+)\.base_layer\.(?:weight(?:\..+)?|bias)$|^((?:.+\.)?(?:embed_tokens|lm_head))\.weight$/;

/** Throws `adapter_unsupported` for what an adapter may hold and is not applied; `adapter_invalid` for the rest. */
export function parseTensorName(name: string): TensorName {
  const plain = name
    .split('.')
    .filter((segment) => !wrappers.has(segment))
    .join('.');
  const hasPrefix = plain.startsWith('base_model.model.');
  const rest = hasPrefix ? plain.slice('base_model.model.'.length) : plain;
  for (const [pattern, part] of parts) {
    const [, module, adapter = 'default'] = pattern.exec(rest) ?? [];
    if (module !== undefined) return { kind: 'part', module: inTextModel(module), part, adapter, hasPrefix };
  }
  const [, ofCopy, ofEmbedding] = copy.exec(rest) ?? [];
  const copied = ofCopy ?? ofEmbedding;
  if (copied !== undefined) return { kind: 'copy', module: inTextModel(copied), hasPrefix };
  return refuseName(name);
}

/** Models with eyes and ears keep the text model one level deeper; one that was saved without its head, one higher. */
const inTextModel = (module: string): string =>
  module
    .replace(/^(?:model\.)?language_model\./, '')
    .replace(/^(?:layers|embed_tokens)(?=\.|$)/, 'model.$&')
    .replace(/^model\.lm_head$/, 'lm_head');

function refuseName(name: string): never {
  if (/\.lora_[AB](\.[^.]+)?\.bias$/.test(name)) unsupportedAdapter(name, 'is a bias of a pair (lora_bias)');
  if (/\.modules_to_save\./.test(name)) unsupportedAdapter(name, 'is a whole module (modules_to_save)');
  return invalidAdapter(name, 'is no tensor of a LoRA adapter');
}
