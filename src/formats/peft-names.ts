// Parses names of an adapter's tensors as PEFT and its users write them: wrappers of the model, the adapter's own name,
// the part of a pair, and tensors outside of pairs. Knows no shapes.

import type { PartName } from './peft-modules.ts';
import { invalidAdapter, unsupportedAdapter } from './refuse-adapter.ts';

export type TensorRole =
  /**
   * Half of a pair, DoRA magnitudes, or rows of tokens. `adapter` is the adapter's name inside the tensor's name;
   * PEFT's default is `default`.
   */
  | { readonly kind: 'part'; readonly module: string; readonly part: PartName; readonly adapter: string }
  /** The base model's own frozen weight, which PEFT saves beside a pair on the head or an embedding. */
  | { readonly kind: 'copy'; readonly module: string };

export type TensorName = TensorRole & {
  /** The name begins with `base_model.model.`, as `save_pretrained` writes it, but not `inject_adapter_in_model`. */
  readonly hasPrefix: boolean;
};

/** Segments that torch inserts between names of modules: torch.compile, FSDP, activation checkpointing, DDP. */
const wrappers = new Set(['_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', 'module']);

/** Parts by the end of the name. The second group is the adapter's name, where there is one. */
const parts: readonly (readonly [pattern: RegExp, part: PartName])[] = [
  [/^(.+)\.lora_A(?:\.([^.]+))?\.weight$/, 'loraA'],
  [/^(.+)\.lora_B(?:\.([^.]+))?\.weight$/, 'loraB'],
  [/^(.+)\.lora_magnitude_vector(?:\.(?!weight$)([^.]+))?(?:\.weight)?$/, 'magnitude'],
  [/^(.+)\.lora_embedding_A(?:\.([^.]+))?$/, 'embeddingA'],
  [/^(.+)\.lora_embedding_B(?:\.([^.]+))?$/, 'embeddingB'],
  // Beside LoRA the rows are inside a wrapper, and where LoRA is on the same module the wrapper is the `base_layer`.
  [/^(.+?)(?:\.base_layer)?(?:\.token_adapter)?\.trainable_tokens_delta(?:\.([^.]+))?$/, 'tokens'],
];
/** Frozen copies. With a quantised base the states of its blocks follow the weight's name. */
const copy = /^(.+)\.base_layer\.(?:weight(?:\..+)?|bias)$|^((?:.+\.)?(?:embed_tokens|lm_head))\.weight$/;

/**
 * Parses a name. Throws `adapter_unsupported` for known tensors that are not applied, and `adapter_invalid` for all
 * others.
 */
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

/**
 * Maps a name to the text model's: multimodal models have it one level deeper, and models saved without a head one
 * level higher.
 */
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
