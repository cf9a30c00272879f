// Files that people keep in an adapter's folder beside its two: what each would change, and which hold the weights in a
// form that is not read.

import { templateFiles } from '../formats/chat-template-files.ts';

/** Nothing of these is applied but a chat template, by a setting: text becomes tokens as the base model makes it. */
const tokeniserFiles = [
  ...['chat_template.jinja', 'chat_template.json', 'tokenizer_config.json', 'tokenizer.json', 'tokenizer.model'],
  ...['added_tokens.json', 'special_tokens_map.json', 'vocab.json', 'merges.txt'],
];

/** About the adapter or its training; an answer does not depend on them. */
const silentFiles = [
  ...['README.md', '.gitattributes', '.gitignore', 'config.json', 'generation_config.json', 'training_args.bin'],
  ...['trainer_state.json', 'all_results.json', 'train_results.json', 'eval_results.json', 'trainer_log.jsonl'],
];

/** Files whose bytes matter. */
export const mayHaveTemplate = (name: string): boolean => templateFiles.includes(name);

export const isCompanion = (name: string): boolean => tokeniserFiles.includes(name) || silentFiles.includes(name);

/** Of the names that came with an adapter. @param keepsTemplates its chat template is applied */
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

/** Other names of weights files, which say what the bytes are: GGUF (llama.cpp), mlx-lm. */
export const isWeightsName = (name: string): boolean => name.endsWith('.gguf') || name === 'adapters.safetensors';

/** Python's pickles run code when they are read, so they never are. */
export const isPickleName = (name: string): boolean =>
  /^(adapter_model|pytorch_model|lora.*)\.(bin|pt|pth|ckpt)$/.test(name);

export const pickleAdvice =
  'is a pickle, which is not read: load the adapter with PEFT and save it again with safe_serialization=True';
