// Files that people keep in an adapter's folder beside its two: what each would change, and which have weights in a
// format that is not read.

import { templateFiles } from '../formats/chat-template-files.ts';

/**
 * Files of a tokeniser. Only a chat template is applied, where a setting allows it; text becomes tokens as in the base
 * model.
 */
const tokeniserFiles = [
  ...['chat_template.jinja', 'chat_template.json', 'tokenizer_config.json', 'tokenizer.json', 'tokenizer.model'],
  ...['added_tokens.json', 'special_tokens_map.json', 'vocab.json', 'merges.txt'],
];

/** Files about the adapter or its training that change no answer. */
const silentFiles = [
  ...['README.md', '.gitattributes', '.gitignore', 'config.json', 'generation_config.json', 'training_args.bin'],
  ...['trainer_state.json', 'all_results.json', 'train_results.json', 'eval_results.json', 'trainer_log.jsonl'],
];

/** Whether the file's bytes are read: it may have a chat template. */
export const mayHaveTemplate = (name: string): boolean => templateFiles.includes(name);

export const isCompanion = (name: string): boolean => tokeniserFiles.includes(name) || silentFiles.includes(name);

/** Warnings about files that came with an adapter. @param keepsTemplates whether its chat template is applied */
export function companionWarnings(names: Iterable<string>, keepsTemplates: boolean): string[] {
  const idle = [...names].filter((name) => tokeniserFiles.includes(name));
  if (!keepsTemplates) {
    const what = "Text and messages go through the base model's own tokeniser and template.";
    const hint = idle.some(mayHaveTemplate) ? ' With LORIKEET_ADAPTER_TEMPLATES=on a chat template is kept.' : '';
    return idle.length === 0 ? [] : [`Not applied: ${idle.join(', ')}. ${what}${hint}`];
  }
  const others = idle.filter((name) => !mayHaveTemplate(name));
  if (others.length === 0) return [];
  return [`Not applied: ${others.join(', ')}. Text becomes tokens by the base model's own tokeniser.`];
}

/** Other names of weights files; their bytes say the format: GGUF (llama.cpp) or mlx-lm. */
export const isWeightsName = (name: string): boolean => name.endsWith('.gguf') || name === 'adapters.safetensors';

/** Whether it is a Python pickle, which runs code when it is read and so is never read. */
export const isPickleName = (name: string): boolean =>
  /^(adapter_model|pytorch_model|lora.*)\.(bin|pt|pth|ckpt)$/.test(name);

export const pickleAdvice =
  'is a pickle, which is not read: load the adapter with PEFT and save it again with safe_serialization=True';
